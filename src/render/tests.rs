//! Renders of trees in memory; those of real repositories are in `tests/`.
