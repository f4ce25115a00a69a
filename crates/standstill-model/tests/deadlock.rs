//! Who is in a deadlock: the line names everybody who waits, hotplug threads in their callbacks included.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{Acquire, Release};

use standstill::CpuId;
use standstill::context::Task;
use standstill::hotplug::{Callbacks, Reason};
use standstill::platform::{Deadline, Site, Wait, WaitContext, WaitFor, Word};
use standstill_model::{ModelWord, Scenario, Setup, all_up, branch, check};

#[test]
fn a_callback_that_waits_is_named_and_a_hotplug_thread_with_nothing_to_do_is_not() {
    let scenario = Scenario::new("callback-waits-for-reader", |s: &mut Setup<'_, 2>| {
        let (machine, last) = (s.machine(), s.last());
        let done = s.keep(ModelWord::ZERO);
        let waits = s.keep(move |_: &mut Task, _: CpuId| -> Result<(), Reason> {
            let site = Site::here("the reader to be done");
            let (context, deadline) = (WaitContext::Task, Deadline::NEVER);
            let wait = WaitFor { site, context, deadline, stalled: &|_| () };
            machine.platform().wait_until(done, &wait, || (done.load(Acquire) == 1).then_some(()));
            Ok(())
        });
        s.task(move |task| {
            let callbacks = Callbacks::Online { up: None, down: Some(waits) };
            machine.add_state_nocalls(task, "waits", callbacks).expect("there is room for it");
            all_up(machine, task);
            branch();
            let _ = machine.cpu_down(task, last);
        });
        s.task(move |task| {
            let _read = machine.cpus_read_lock(task);
            done.store(1, Release);
            machine.platform().notify(done);
        });
    });
    let verdict = check(&scenario.options(), &mut |_| ControlFlow::Continue(()));
    let violation = verdict.violation.expect("the callback waits for a reader that waits for the operation");
    assert_eq!(violation.rule, "deadlock");
    let who = violation.text.matches(" at ").count();
    assert!(violation.text.contains("hotplug thread on CPU 1 at "), "{}", violation.text);
    assert_eq!(who, 3, "two tasks and one hotplug thread: {}", violation.text);
    assert!(violation.text.contains("tests/deadlock.rs"), "{}", violation.text);
}
