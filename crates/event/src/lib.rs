//! The Exchange record of one request, its flat wire form, the field table, ids and the clock. No I/O.
