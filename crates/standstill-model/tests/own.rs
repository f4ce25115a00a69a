//! A kernel checks its own hotplug callbacks, in ordinary tests: see `examples/own_callback` for the same as a program.

#[path = "../examples/own_callback/driver.rs"]
mod driver;

#[test]
fn the_buffer_that_is_freed_too_early_is_found() {
    let verdict = driver::check(driver::Frees::OnTheWayDown);
    let story = verdict.story().expect_err("calls still come after the ONLINE callbacks");
    assert!(story.contains("the buffer is gone"), "{story}");
    assert!(story.contains("driver.rs"), "the place is in the driver: {story}");
}

#[test]
fn the_buffer_that_is_freed_when_the_cpu_is_dead_is_fine() {
    let verdict = driver::check(driver::Frees::WhenDead);
    assert_eq!(verdict.story(), Ok(()));
}
