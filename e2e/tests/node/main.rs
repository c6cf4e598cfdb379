//! Behaviour on a real node, one module per behaviour.
