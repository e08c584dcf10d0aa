//! What is there for code that comes from elsewhere.

pub mod dummy;
