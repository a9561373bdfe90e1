// Samples as rows of a matrix: chunks of them for the threads around the loops of leaf.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "elements.h"
#include "pages.h"

namespace ganfast {

// Rows of contiguous elements, one after the other in memory.
struct Rows {
  std::int64_t count;
  std::int64_t length;

  std::int64_t elements() const { return count * length; }
};

// What a thread does at a time: several whole rows, or a piece of a long one. The sizes alone decide, so that
// no sum depends on the number of threads.
struct Chunk {
  std::int64_t number;
  std::int64_t row;     // the first
  std::int64_t rows;    // how many; 1 for a piece
  std::int64_t first;   // element of the matrix
  std::int64_t length;  // elements of each row in the chunk

  std::int64_t elements() const { return rows * length; }
};

// Chunks of each row: 1 unless it is longer than a block.
inline std::int64_t pieces_of(Rows rows) { return std::max<std::int64_t>(1, (rows.length + kBlock - 1) / kBlock); }

// Calls body(chunk) for every chunk, each of at most kBlock elements.
template <class Body>
void for_each_chunk(Rows rows, int threads, Body body) {
  const std::int64_t pieces = pieces_of(rows);
  const std::int64_t together = pieces > 1 ? 1 : kBlock / std::max<std::int64_t>(1, rows.length);
  const std::int64_t chunks = pieces > 1 ? rows.count * pieces : (rows.count + together - 1) / together;
  const auto one = [&](std::int64_t c) {
    const std::int64_t row = c / pieces * together;
    const std::int64_t start = c % pieces * kBlock;
    body(Chunk{c, row, std::min(together, rows.count - row), row * rows.length + start,
               std::min(kBlock, rows.length - start)});
  };
  in_team(threads, [&](int thread, int of) {
    for (std::int64_t c = chunks * thread / of; c < chunks * (thread + 1) / of; ++c) one(c);
  });
}

// The elements of a chunk as Real; in place if they are that already.
template <class Real>
const Real* read_chunk(const Isa& isa, const void* matrix, Dtype dtype, const Chunk& chunk, Real* buffer) {
  return read<Real>(isa, at(matrix, dtype, chunk.first), dtype, chunk.elements(), buffer);
}

// Calls fill(out) for the memory of a chunk of results, or for a buffer that is then converted into it.
template <class Real, class Fill>
void write_chunk(const Isa& isa, void* matrix, Dtype dtype, Rows rows, const Chunk& chunk, Fill fill) {
  constexpr std::int64_t kTogether = 64;  // chunks whose memory is mapped at a time; see losses.cpp
  const std::int64_t size = size_of(dtype);
  void* to = at(matrix, dtype, chunk.first);
  if (rows.elements() * size >= kAlwaysFresh && chunk.number % kTogether == 0)
    map_pages(to, std::min(kTogether * kBlock, rows.elements() - chunk.first) * size);
  alignas(64) Real buffer[kBlock];
  Real* out = staging<Real>(to, dtype, buffer);
  fill(out);
  write<Real>(isa, out, to, dtype, chunk.elements());
}

}  // namespace ganfast
