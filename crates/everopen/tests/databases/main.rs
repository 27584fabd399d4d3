//! Databases and the services that use them, with the program itself: real servers, a pooler, an edge, and
//! clients of both that go on.

mod both;
#[path = "../greeter/mod.rs"]
mod greeter;
mod pair;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of databases"
)]
#[path = "../../../database/tests/suite/place.rs"]
mod place;
mod schema_release;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of databases"
)]
#[path = "../../../database/tests/suite/servers/mod.rs"]
mod servers;
