<<<<<<< HEAD
//! Server.

pub mod sandbox;
=======
//! Postworks' API and command line.

pub mod app;
>>>>>>> server
