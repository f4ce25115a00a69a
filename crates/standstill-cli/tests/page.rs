//! The page of a matrix, in a browser: it shows what was found, and can be stepped through.

use std::path::Path;
use std::process::{Command, Output};

/// What runs in the page. Each `check` is a line of the result.
const SCRIPT: &str = r#"
const all = (s, of) => [...(of || document).querySelectorAll(s)];
const check = (what, ok) => results.push((ok ? 'ok ' : 'BAD ') + what);
const cells = all('.matrix td.cell');
check('two presets, two latencies, five properties', cells.length === 20);
check('letters lead to their pictures', all('a', all('.matrix')[0]).length > 5
  && all('.matrix a').every(a => document.getElementById(a.getAttribute('href').slice(1))));
check('the answer is there', all('.answer p').length === 2);
const sections = all('section').filter(s => s.id);
check('a section for each', sections.length === all('.matrix a').length);
check('each has its picture', sections.every(s => all('.figure', s).length > 0 && all('.cell.bad', s).length > 0));
check('the race of the mail is first', sections[0].id === 'linux-3-14-instant-2-w');
check('and has the cure beside it', all('.figure', sections[0]).length === 2);
for (const figure of all('.figure')) {
  const diagram = all('.diagram', figure)[0], said = all('.said', figure)[0];
  const press = key => diagram.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  press('j'); const first = said.textContent; press('j');
  if (!first.includes('Picture 1 of') || !said.textContent.includes('Picture 2 of')) check('a key steps: ' + first, false);
  press('End');
  if (!said.textContent.includes('crates/standstill/src/')) check('the place in the code: ' + said.textContent, false);
  press('Escape');
}
check('all figures were stepped through', true);
check('the mail\'s arrow', all('.arrow', sections[0]).length > 0 && all('.stage', sections[0]).some(s => s.textContent === 'DISABLE_IRQ'));
"#;

/// Loads a page, and prints what its scripts made of it.
fn load(browser: &str, page: &Path) -> std::io::Result<Output> {
    Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", page.with_file_name("profile").display()))
        .arg(format!("file://{}", page.display()))
        .output()
}

/// A browser, if this computer has one that shows a page: some names stand for a program that installs one.
fn browser(dir: &Path) -> Option<&'static str> {
    let page = dir.join("try.html");
    std::fs::write(&page, "<p id=p></p><script>p.textContent = 1 + 1</script>").expect("writable");
    let shows = |browser: &&str| {
        load(browser, &page)
            .is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("<p id=\"p\">2</p>"))
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(shows)
}

#[test]
fn the_matrix_can_be_read_in_a_browser() {
    let dir = std::env::temp_dir().join(format!("standstill-matrix-page-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let Some(browser) = browser(&dir) else {
        println!("skipped: no chromium on this computer shows a page");
        std::fs::remove_dir_all(&dir).expect("it is ours");
        return;
    };
    let file = dir.join("page.html");
    let mut check = assert_cmd::Command::cargo_bin("standstill").expect("cargo builds it");
    check
        .args(["check", "--matrix", "--cpus", "2", "--protocol", "linux-3.14,standstill", "--html"])
        .arg(&file);
    check.assert().success();
    let page = std::fs::read_to_string(&file).expect("it was written");
    let script = format!(
        "<pre id=\"result\"></pre><script>addEventListener('load', () => {{ const results = [];\n\
         try {{ {SCRIPT} }} catch (error) {{ results.push('BAD ' + error); }}\n\
         document.getElementById('result').textContent = results.join('\\n'); }});</script></body>"
    );
    std::fs::write(&file, page.replace("</body>", &script)).expect("writable");
    let out = load(browser, &file).expect("it started before");
    let text = String::from_utf8_lossy(&out.stdout);
    let result = text.split("<pre id=\"result\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let result = result.unwrap_or_else(|| panic!("no result: {}", String::from_utf8_lossy(&out.stderr)));
    let good = result.lines().filter(|line| line.starts_with("ok ")).count();
    // Those in the loop speak up only if they fail.
    assert_eq!(good, SCRIPT.matches("check('").count() - 2, "{result}");
    assert_eq!(good, result.lines().count(), "{result}");
    std::fs::remove_dir_all(&dir).expect("it is ours");
}
