//! (opens with its first user)
