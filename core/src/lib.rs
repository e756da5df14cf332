//! respass
