use alloc::boxed::Box;
use alloc::vec;

use standstill::CpuId;

use super::*;

struct Thread {
    name: &'static str,
    entry: Entry<Thread>,
}

impl Deref for Thread {
    type Target = Entry<Thread>;

    fn deref(&self) -> &Entry<Thread> {
        &self.entry
    }
}

fn names(q: &mut Queue<Thread>) -> Vec<&'static str> {
    core::iter::from_fn(|| q.pop()).map(|t| t.name).collect()
}

fn thread(name: &'static str, bound: bool) -> &'static Thread {
    Box::leak(Box::new(Thread { name, entry: Entry::new(CpuId::BOOT, bound) }))
}

#[test]
fn ready_threads_come_in_order_and_bound_ones_first() {
    let q = &mut Queue::new();
    let (a, b, c, m) = (thread("a", false), thread("b", false), thread("c", false), thread("m", true));
    for t in [a, b, c, m] {
        q.add(t, State::Ready);
    }
    assert_eq!(names(q), ["m", "a", "b", "c"]);
}

#[test]
fn a_thread_can_be_taken_out_anywhere() {
    for victim in 0..3 {
        let q = &mut Queue::new();
        let all = [thread("a", false), thread("b", false), thread("c", false)];
        for t in all {
            q.add(t, State::Ready);
        }
        assert_eq!(q.remove(all[victim]), State::Ready);
        let last = thread("z", false);
        q.add(last, State::Ready);
        let mut want = vec!["a", "b", "c"];
        want.remove(victim);
        want.push("z");
        assert_eq!(names(q), want);
        assert_eq!(q.members().len(), 3);
    }
}

#[test]
fn a_timer_makes_ready_once_and_says_when_to_look_again() {
    let q = &mut Queue::new();
    let (soon, late, never) = (thread("soon", false), thread("late", false), thread("never", false));
    let far = 3_600_000_000_000;
    soon.wake_at.store(1, Relaxed);
    late.wake_at.store(far, Relaxed);
    for t in [soon, late, never] {
        q.add(t, State::Blocked);
    }
    assert_eq!(q.timers(|| 2), far);
    assert_eq!(names(q), ["soon"]);
}

#[test]
fn a_wake_before_the_switch_is_kept() {
    let q = &mut Queue::new();
    let t = thread("t", false);
    t.woken.store(true, Relaxed);
    q.add(t, State::Blocked);
    assert_eq!(names(q), ["t"]);
    q.put(t, State::Blocked);
    assert!(names(q).is_empty(), "one wake ends one wait");
}

#[test]
fn without_a_timer_the_clock_is_not_asked() {
    let q = &mut Queue::new();
    q.add(thread("t", false), State::Blocked);
    assert_eq!(q.timers(|| unreachable!("no timer is set")), u64::MAX);
}

#[test]
fn an_empty_queue_has_neither_end() {
    let q = &mut Queue::new();
    let t = thread("t", false);
    q.add(t, State::Ready);
    assert!(q.has_ready() && ptr::eq(q.tail, t));
    assert_eq!(q.remove(t), State::Ready);
    assert!(!q.has_ready() && q.tail.is_null());
}
