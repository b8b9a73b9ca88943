//! The vocabulary of hodei-worker: model, errors, the worker provider port, policies and the behaviour suite.
