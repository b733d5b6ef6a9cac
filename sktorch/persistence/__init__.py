"""Files of plain values and tensors, and objects as such values. Reading one runs no code of it."""
