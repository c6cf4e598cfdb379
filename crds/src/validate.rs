//! The checks that a schema cannot express, as one pure function per kind. Called by the controllers on every object, so that one that
//! was stored around the API's validation becomes a condition and never a crash.
