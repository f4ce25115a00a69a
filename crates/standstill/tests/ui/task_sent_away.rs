//! A token is the proof of its own thread's context.
use standstill::context::Task;

fn wrong(task: Task) {
    std::thread::spawn(move || drop(task));
}

fn main() {}
