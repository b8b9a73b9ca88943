//! Create, run, watch and stop workers on local processes, Docker and other providers from one embeddable crate.
