"""The providers that every suite has: their names in tables and files."""

GANFAST, COMPILED, COPY = "ganfast", "torch.compile", "copy"
