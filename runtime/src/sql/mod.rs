//! SQL text to stream graph.
