//! That the platform is a type parameter costs nothing: in the assembly of two hot functions, compiled without link-time
//! optimization, no call to the platform or to the library is left; what remains calls the hardware, the caller's own function, or a
//! cold path.

mod compiler;

use std::path::Path;

use compiler::Library;

/// The targets of the calls in function `name`.
fn calls<'a>(assembly: &'a str, name: &str) -> Vec<&'a str> {
    let body = assembly.split_once(&format!("\n{name}:\n")).expect("the function is there").1;
    let body = body.split_once(&format!("\t.size\t{name},")).expect("the function ends").0;
    assert!(body.contains("\tlock"), "it really pushes or takes:\n{body}");
    body.lines()
        .map(str::trim)
        .filter_map(|line| {
            line.strip_prefix("call").or_else(|| line.strip_prefix("jmp")).map(|rest| (line, rest))
        })
        .map(|(_, rest)| rest.trim_start_matches('q').trim())
        .filter(|target| !target.starts_with('.'))
        .collect()
}

#[test]
#[cfg(target_arch = "x86_64")]
#[cfg_attr(miri, ignore = "runs the compiler")]
fn no_call_to_the_platform_is_left_in_two_hot_functions() {
    let library = Library::build("zero_cost");
    let assembly = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hot.s");
    let (asm, uses) = (assembly.to_str().unwrap(), library.args());
    let mut args = vec!["--crate-type", "lib", "-Copt-level=3", "--emit", "asm", "-o", asm];
    args.extend(uses.iter().map(String::as_str));
    args.push("tests/zero_cost/hot.rs");
    let output = compiler::rustc(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let assembly = std::fs::read_to_string(assembly).unwrap();
    for name in ["hot_send", "hot_handler"] {
        let calls = calls(&assembly, name);
        println!("{name} calls {calls:?}");
        let stranger = |target: &&&str| {
            let hardware = target.contains("hardware_send_ipi");
            let own_function = target.starts_with('*') && !target.contains("GOTPCREL");
            let cold =
                ["report_late", "post_refused", "panic", "nothing"].iter().any(|cold| target.contains(cold));
            !(hardware || own_function || cold)
        };
        let strangers: Vec<_> = calls.iter().filter(stranger).collect();
        assert!(strangers.is_empty(), "{name} calls {strangers:?}");
    }
}
