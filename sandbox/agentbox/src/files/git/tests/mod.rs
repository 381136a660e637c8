//! Tests of git by meaning.
