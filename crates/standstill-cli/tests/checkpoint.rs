//! `standstill check --checkpoint`: several processes, one after the other, are one search.

use std::process::Command;

use standstill_cli::check_json::CheckJson;

fn check(args: &[&str]) -> (i32, String, String) {
    let out =
        Command::new(env!("CARGO_BIN_EXE_standstill")).arg("check").args(args).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("no signal ended it"), text(&out.stdout), text(&out.stderr))
}

#[test]
fn processes_one_after_the_other_are_one_search() {
    let file = std::env::temp_dir().join(format!("standstill-checkpoint-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let name = file.display().to_string();
    let search = ["--cpus", "3", "--json"];
    let part = [&search[..], &["--max-states", "1000", "--checkpoint", name.as_str()]].concat();
    let json = |(exit, stdout, stderr): (i32, String, String)| -> CheckJson {
        assert_eq!(exit, 0, "{stderr}");
        serde_json::from_str(&stdout).expect("an object of the schema")
    };
    let whole = json(check(&search)).coverage;
    assert_eq!(whole.kind, "exhausted");
    let mut parts = 0;
    loop {
        let now = json(check(&part));
        parts += 1;
        assert!(parts < 100, "it goes on from where it was");
        if now.coverage.kind == "exhausted" {
            assert_eq!(now.coverage.states, whole.states, "each process has its memory elsewhere");
            break;
        }
        assert!(file.exists());
        let (exit, _, stderr) = check(&["--cpus", "2", "--checkpoint", name.as_str()]);
        assert_eq!((exit, stderr.lines().count()), (2, 1), "{stderr}");
        assert!(stderr.contains("it is of another search"), "{stderr}");
    }
    assert!(parts > 2 && !file.exists());
    let (exit, stdout, stderr) = check(&["--engine", "dpor", "--checkpoint", name.as_str()]);
    assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
}
