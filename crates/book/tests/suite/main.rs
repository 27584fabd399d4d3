//! One suite for both books: the fast one and its slow, obvious twin.

mod agree;
mod both;
mod restore;
mod shape;
mod stories;
