//! Parts that die at every moment.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use super::{Carrier, End, Goes, Part, Place, Plan, last};
use crate::execute::{By, Ended, Fault};
use crate::journal::{Line, Outcome};
use crate::state::Folder;

/// What outlives a controller.
#[derive(Clone)]
struct World {
    places: Rc<RefCell<Vec<Place>>>,
    /// Moments that the controller still lives.
    moments: Rc<Cell<usize>>,
    /// The part that fails, and on the way to which end.
    fails: Rc<RefCell<Vec<(usize, End)>>>,
    /// The part that gets to the new end, and says that something is wrong there.
    doubts: Rc<Cell<Option<usize>>>,
    log: Rc<RefCell<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        Self {
            places: Rc::new(RefCell::new(vec![Place::At(End::Old); 2])),
            moments: Rc::new(Cell::new(usize::MAX)),
            fails: Rc::default(),
            doubts: Rc::default(),
            log: Rc::default(),
        }
    }

    fn moment(&self) {
        let left = self.moments.get();
        assert!(left > 0, "the controller is killed");
        self.moments.set(left - 1);
    }

    fn at(&self) -> [Place; 2] {
        let places = self.places.borrow();
        [places[0].clone(), places[1].clone()]
    }

    fn set(&self, at: usize, place: Place) {
        self.places.borrow_mut()[at] = place;
    }

    /// Runs something of the plan; none if the controller was killed.
    fn carry(&self, root: &Path, what: What) -> Option<Result<Ended, Fault>> {
        let (mut one, mut two) = (self.part(0), self.part(1));
        let by = By::default();
        let mut tell = |_: &Line| self.moment();
        let carrier = Carrier {
            root,
            folder: "a+b",
            name: "a",
            by: &by,
            parts: vec![&mut one, &mut two],
            tell: &mut tell,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let known = || last(root, "a+b").expect("read").expect("a plan");
        let carried = catch_unwind(AssertUnwindSafe(|| match what {
            What::Begin(to) => {
                let plan = Plan {
                    id: "1".into(),
                    to,
                    parts: (),
                };
                runtime.block_on(carrier.begin(&plan))
            }
            What::Resume { back } => runtime.block_on(carrier.resume::<()>(&known(), back)),
            What::Turn => {
                let to = carrier.turned()?;
                runtime.block_on(carrier.begin::<()>(&known().turned(to)))
            }
            What::Close => carrier.close().map(|()| Ended {
                outcome: Outcome::Old,
                reason: None,
                noticed: String::new(),
            }),
        }));
        carried.ok()
    }

    fn part(&self, at: usize) -> Fake {
        Fake {
            at,
            world: self.clone(),
        }
    }
}

#[derive(Clone, Copy)]
enum What {
    Begin(End),
    Resume { back: bool },
    Turn,
    Close,
}

struct Fake {
    at: usize,
    world: World,
}

impl Fake {
    fn come(&self, to: End) -> Result<String, String> {
        let World { log, fails, .. } = &self.world;
        let fails = fails.borrow().contains(&(self.at, to));
        let end = if fails { to.other() } else { to };
        self.world.set(self.at, Place::At(end));
        log.borrow_mut().push(format!("{} {}", self.at, end.name()));
        self.world.moment();
        let doubts = to == End::New && self.world.doubts.get() == Some(self.at);
        match fails || doubts {
            true => Err("broken".into()),
            false => Ok("well".into()),
        }
    }
}

impl Part for Fake {
    fn name(&self) -> String {
        format!("part {}", self.at)
    }

    fn place(&self) -> Result<Place, String> {
        Ok(self.world.at()[self.at].clone())
    }

    fn way(&self) -> Result<Option<u64>, String> {
        Ok(Some(100 - self.at as u64))
    }

    fn go(&mut self, to: End) -> Goes<'_> {
        assert_eq!(self.world.at()[self.at], Place::At(to.other()));
        Box::pin(async move {
            self.world.moment();
            self.world.set(self.at, Place::Between);
            self.world.moment();
            self.come(to)
        })
    }

    fn settle(&mut self, to: End) -> Goes<'_> {
        assert_eq!(self.world.at()[self.at], Place::Between);
        Box::pin(async move {
            self.world.moment();
            self.come(to)
        })
    }

    fn alone(&self) -> String {
        format!("`part {}`", self.at)
    }
}

fn all(end: End) -> [Place; 2] {
    [Place::At(end), Place::At(end)]
}

/// Kills the controller at every moment, and the one that resumes it, and holds what comes of it.
fn die_everywhere(
    fails: &[(usize, End)],
    begin: impl Fn(&World, &Path, usize) -> bool,
    back: bool,
    ends: &[End],
) -> usize {
    let mut kills = 0;
    for first in 0.. {
        let mut is_over = false;
        for second in 0.. {
            let folder = tempfile::tempdir().expect("a folder");
            let world = World::new();
            world.fails.borrow_mut().extend(fails);
            if begin(&world, folder.path(), first) {
                is_over = true;
                break;
            }
            kills += 1;
            world.moments.set(second);
            let once = world.carry(folder.path(), What::Resume { back });
            let was_killed = once.is_none();
            world.moments.set(usize::MAX);
            let is_open = Folder::peek(folder.path(), "a+b").expect("read").under_way;
            if is_open.is_some() {
                let ended = world.carry(folder.path(), What::Resume { back });
                ended.expect("it lives").expect("it ends");
            }
            let at = world.at();
            assert!(
                ends.iter().any(|end| at == all(*end)),
                "{at:?} after {first} and {second} moments: {:?}",
                world.log.borrow()
            );
            let state = Folder::peek(folder.path(), "a+b").expect("read");
            assert_eq!(state.under_way, None);
            if !was_killed {
                break;
            }
        }
        if is_over {
            break;
        }
    }
    kills
}

fn forth(world: &World, root: &Path, moments: usize) -> bool {
    world.moments.set(moments);
    let carried = world.carry(root, What::Begin(End::New));
    world.moments.set(usize::MAX);
    // What was never begun is as before.
    carried.is_some()
}

#[test]
fn whenever_the_controller_dies_both_parts_come_to_one_end() {
    let both = [End::Old, End::New];
    let kills = die_everywhere(&[], forth, false, &both);
    assert!(kills > 50, "{kills}");
    die_everywhere(&[], forth, true, &both);
    for part in 0..2 {
        let kills = die_everywhere(&[(part, End::New)], forth, false, &[End::Old]);
        assert!(kills > 20, "{kills}");
    }
    // The same on the way back.
    let back = |world: &World, root: &Path, moments: usize| {
        let fails = world.fails.take();
        assert!(forth(world, root, usize::MAX));
        world.fails.replace(fails);
        world.moments.set(moments);
        let carried = world.carry(root, What::Turn);
        world.moments.set(usize::MAX);
        carried.is_some()
    };
    die_everywhere(&[], back, false, &both);
    for part in 0..2 {
        die_everywhere(&[(part, End::Old)], back, false, &[End::New]);
    }
}

#[test]
fn parts_go_in_order_and_come_back_in_reverse() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new();
    let carry = |what| world.carry(folder.path(), what).expect("it lives");
    let ended = carry(What::Begin(End::New)).expect("it ends");
    assert_eq!(ended.outcome, Outcome::New);
    let state = Folder::peek(folder.path(), "a+b").expect("read");
    assert_eq!(state.back, Some(("old".into(), 99)), "the smaller of both");
    let ended = carry(What::Turn).expect("it ends");
    assert_eq!(ended.outcome, Outcome::Back);
    let ended = carry(What::Turn).expect("it ends");
    assert_eq!(ended.outcome, Outcome::New);
    let log = world.log.borrow();
    assert_eq!(*log, ["0 new", "1 new", "1 old", "0 old", "0 new", "1 new"]);
}

#[test]
fn a_part_that_moved_alone_is_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new();
    let carry = |what| world.carry(folder.path(), what).expect("it lives");
    carry(What::Begin(End::New)).expect("it ends");
    world.set(0, Place::At(End::Old));
    let error = carry(What::Turn).expect_err("refused").to_string();
    assert!(
        error.contains("part 0 is not where it should be (new)") && error.contains("`part 0`"),
        "{error}"
    );
    world.set(0, Place::Elsewhere("another one serves".into()));
    let error = carry(What::Turn).expect_err("refused").to_string();
    assert!(error.contains("another one serves"), "{error}");
    assert_eq!(world.log.borrow().len(), 2, "nothing was done");
    // Closed, there is no way back for both.
    carry(What::Close).expect("closed");
    world.set(0, Place::At(End::New));
    let error = carry(What::Turn).expect_err("refused").to_string();
    assert!(error.contains("no way back"), "{error}");
}

#[test]
fn what_can_not_be_taken_back_says_where_everything_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new();
    let carry = |what| world.carry(folder.path(), what).expect("it lives");
    world
        .fails
        .borrow_mut()
        .extend([(1, End::New), (0, End::Old)]);
    let error = carry(What::Begin(End::New)).expect_err("stuck").to_string();
    for found in [
        "part 1: broken",
        "part 0 can't be taken back: broken",
        "part 0 is new, part 1 is old",
        "everopen rollout resume a",
        "everopen rollout finish a",
    ] {
        assert!(error.contains(found), "{found}: {error}");
    }
    // What is in the way goes, and it is brought to its end.
    world.fails.borrow_mut().clear();
    let ended = carry(What::Resume { back: false }).expect("it ends");
    assert_eq!((ended.outcome, world.at()), (Outcome::Old, all(End::Old)));
    let error = carry(What::Resume { back: false }).expect_err("refused");
    assert!(error.to_string().contains("no plan of a is under way"));
}

/// Cuts a plan off after so many moments; then it is brought to its end.
fn cut_off(world: &World, moments: usize, back: bool) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    world.moments.set(moments);
    let cut = world.carry(folder.path(), What::Begin(End::New));
    assert!(cut.is_none(), "it was to be killed");
    world.moments.set(usize::MAX);
    world.fails.borrow_mut().clear();
    let ended = world.carry(folder.path(), What::Resume { back });
    ended.expect("it lives").expect("it ends")
}

#[test]
fn what_was_begun_and_came_back_is_not_tried_again() {
    let world = World::new();
    world.fails.borrow_mut().push((1, End::New));
    // The second part has come back, and the word of it is missing.
    let ended = cut_off(&world, 9, false);
    assert_eq!((ended.outcome, world.at()), (Outcome::Old, all(End::Old)));
    assert_eq!(*world.log.borrow(), ["0 new", "1 old", "0 old"]);
}

#[test]
fn what_is_taken_back_goes_in_reverse() {
    let world = World::new();
    // Both are new, and the word of it is missing.
    let ended = cut_off(&world, 9, true);
    assert_eq!((ended.outcome, world.at()), (Outcome::Old, all(End::Old)));
    assert_eq!(*world.log.borrow(), ["0 new", "1 new", "1 old", "0 old"]);
}

#[test]
fn a_part_that_is_new_and_in_doubt_is_taken_back_whoever_is_killed() {
    // Nobody is, or the controller is as soon as it has noted the failure.
    for moments in [None, Some(5)] {
        let world = World::new();
        world.doubts.set(Some(0));
        let ended = match moments {
            None => {
                let folder = tempfile::tempdir().expect("a folder");
                let ended = world.carry(folder.path(), What::Begin(End::New));
                ended.expect("it lives").expect("it ends")
            }
            Some(moments) => cut_off(&world, moments, false),
        };
        assert_eq!((ended.outcome, world.at()), (Outcome::Old, all(End::Old)));
        assert!(
            ended
                .reason
                .is_some_and(|reason| reason.contains("part 0: broken"))
        );
    }
}

#[test]
fn what_somebody_else_moved_before_it_was_begun_is_theirs() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new();
    // Two lines, three moments of the first part, and it is killed before the second is begun.
    world.moments.set(5);
    assert!(world.carry(folder.path(), What::Begin(End::New)).is_none());
    world.moments.set(usize::MAX);
    assert_eq!(world.at()[0], Place::At(End::New));
    let theirs = Place::Elsewhere("another one serves".into());
    world.set(1, theirs.clone());
    let carry = |what| world.carry(folder.path(), what).expect("it lives");
    let ended = carry(What::Resume { back: false }).expect("it ends");
    assert!(
        ended
            .reason
            .is_some_and(|reason| reason.contains("another one serves"))
    );
    assert_eq!(world.at(), [Place::At(End::Old), theirs]);
}

#[test]
fn only_what_is_stuck_is_closed_while_it_is_under_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new();
    world.moments.set(6);
    assert!(world.carry(folder.path(), What::Begin(End::New)).is_none());
    world.moments.set(usize::MAX);
    let carry = |what| world.carry(folder.path(), what).expect("it lives");
    let error = carry(What::Close).expect_err("refused").to_string();
    assert!(error.contains("was cut off"), "{error}");
    world.fails.borrow_mut().push((0, End::Old));
    carry(What::Resume { back: true }).expect_err("stuck");
    carry(What::Close).expect("closed");
    let state = Folder::peek(folder.path(), "a+b").expect("read");
    assert_eq!((state.under_way, state.back), (None, None));
}
