//! Routing allocates nothing, whatever the size of the fleet, and what a changed fleet needs is built before it serves.
//! A program of its own, for the sake of its allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unskew_benches::subject::{Routing, Sandboxes};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator that counts on its way to the system's")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let value = run();
    (value, ALLOCATIONS.get() - before)
}

#[test]
fn a_decision_allocates_nothing_and_a_changed_fleet_is_built_aside() {
    let sandboxes = Sandboxes::new().expect("the packs of testdata/ load");
    for servers in [1, 16, 1000, 10_000] {
        let mut routing = Routing::new(&sandboxes, servers);
        let all =
            |routing: &Routing| (0..routing.sessions()).map(|session| routing.decide(session)).fold(0, |n, _| n + 1);
        assert_eq!(allocations(|| all(&routing)), (routing.sessions(), 0), "{servers} servers");

        // The tables of the next snapshot are there before it is published: its first decision allocates nothing either.
        let (next, built) = allocations(|| routing.rebuilt());
        assert!(built > 0 && !next.is_healthy(0), "{servers} servers");
        let before = routing.decide(7);
        routing.publish(next);
        assert_eq!(allocations(|| all(&routing)), (routing.sessions(), 0), "{servers} servers, one of them ill");
        assert!(servers > 1 || routing.decide(7) != before, "nobody is sent to a server that is ill");
    }
}

#[test]
fn what_allocates_is_counted() {
    assert_eq!(allocations(|| Box::new(1)).1, 1);
}
