//! A token is the proof of its own thread's context.
use standstill::context::Task;

fn wrong(task: Task) {
    //~ E0277: required because it appears within the type `standstill::context::Task`
    std::thread::spawn(move || drop(task));
}

fn main() {}
