"""Files of arrays that are there whole or not at all."""
