//! How a mutant ended the process, told before it ends: where it was, and whose code it was in.
//!
//! A mutant follows a link that is none, or panics where nothing can unwind. That is its doing if the library's code was running after the
//! set-up. If the checker's own code was, or the stack or the memory ran out, it says nothing about the mutant.

use std::backtrace::Backtrace;
use std::panic::Location;
use std::ptr;
use std::sync::Mutex;
use std::sync::PoisonError;

use standstill_model::past_setup;

/// The last panic: where, and its text.
static LAST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// A fault so near to the stack pointer is a stack that ran out.
const NEAR: usize = 1 << 16;

fn shown(at: Option<&Location<'_>>) -> String {
    at.map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()))
}

/// Keeps the place of each panic, and catches the signals that end a process.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a message").to_string();
        // The first one says what was wrong; that nothing may unwind there comes after it.
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        last.get_or_insert((shown(info.location()), text));
    }));
    let stack = Box::leak(vec![0_u8; 1 << 20].into_boxed_slice());
    // SAFETY: the stack is never freed, and the handler is a function of this type.
    unsafe {
        let alternative =
            libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        libc::sigaltstack(&alternative, ptr::null_mut());
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGFPE]
        {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// Where the last panic was; it is forgotten then.
pub(crate) fn last_panic() -> Option<(String, String)> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Is it a place in the checker itself, and not in one of its scenarios?
pub(crate) fn is_checker(place: &str) -> bool {
    place.contains("standstill-model/src/") && !place.contains("standstill-model/src/scenario")
}

fn stack_pointer(context: *mut libc::c_void) -> usize {
    // SAFETY: the kernel passes the interrupted context.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let pointer = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let pointer = context.uc_mcontext.sp as usize;
    pointer
}

/// The innermost function of the library in a backtrace.
fn library_frame(trace: &str) -> Option<String> {
    let name = trace.lines().map(str::trim).find(|line| {
        let name = line.split_once(": ").map_or("", |(_, name)| name);
        let name = name.trim_start_matches('<');
        name.starts_with("standstill::") || name.starts_with("&standstill::")
    })?;
    Some(name.split_once(": ").map_or(name, |(_, name)| name).to_string())
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes it.
    let address = unsafe { (*info).si_addr() }.addr();
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGABRT => "SIGABRT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        _ => "SIGFPE",
    };
    let phase = if past_setup() { "after" } else { "set-up" };
    // The library allocates nothing, so that the allocator can be used if its code was interrupted. If not, the process ends all the same.
    let frame = library_frame(&Backtrace::force_capture().to_string());
    let overflow = signal == libc::SIGSEGV && address.abs_diff(stack_pointer(context)) < NEAR;
    let panic = last_panic();
    let (blame, text) = match (&panic, frame) {
        _ if overflow => ("stack", "the stack ran out".to_string()),
        (Some((place, text)), _) if signal == libc::SIGABRT && !is_checker(place) => {
            ("mutant", format!("{text} ({place})"))
        }
        (_, Some(frame)) => ("mutant", format!("{name} at {address:#x} in {frame}")),
        (_, None) => ("checker", format!("{name} at {address:#x}, in no function of the library")),
    };
    println!("ended\t{phase}\t{blame}\t{}", super::plain(&text));
    // SAFETY: ends the process, which can't go on.
    unsafe { libc::_exit(99) };
}
