//! The page as text, and in a browser.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::matrix::MatrixRow;
use crate::trace::tests::race;

pub(crate) fn page() -> Page {
    let cell = |finding, promised| Cell { finding, promised, count: 1, case: None };
    let row = |preset: &str, ipi: &str, cells: [Cell; 5]| MatrixRow {
        preset: preset.into(),
        ipi: ipi.into(),
        cpus: 2,
        states: 1_234_567,
        time_ns: 5_000_000,
        cells: cells.to_vec(),
    };
    let none = || cell(Finding::None, true);
    let found = || cell(Finding::Found, false);
    let shown = Cell { case: Some("linux-3-14-instant-w".into()), ..found() };
    let mut cured = race();
    cured.title = "standstill".into();
    cured.broken_at = None;
    cured.critical_pair = None;
    cured.sentence = "It passes.".into();
    Page {
        title: "A check <of> everything".into(),
        about: vec!["Exhausted: 2 CPUs, `sc`.".into()],
        matrix: Some(Matrix {
            properties: [("W", "late"), ("L", "lost"), ("S", "spurious"), ("O", "outside"), ("F", "frozen")]
                .map(|(letter, means)| (letter.into(), means.into()))
                .to_vec(),
            rows: vec![
                row("linux-3.14", "instant", [shown, none(), found(), found(), none()]),
                row("linux-3.14", "delayed", [found(), found(), found(), found(), none()]),
                row(
                    "standstill",
                    "delayed",
                    [none(), none(), none(), cell(Finding::Unknown, true), cell(Finding::Found, true)],
                ),
            ],
            answer: vec!["No: with the drain the split is not needed.".into()],
        }),
        cases: vec![Case {
            id: "linux-3-14-instant-w".into(),
            title: "`linux-3.14`, instant IPIs: W".into(),
            facts: vec!["0 preemptions".into(), "1 interrupt".into()],
            trace: race(),
            cured: Some(("The same schedule under `standstill`".into(), cured)),
            replay: "standstill-replay 1\n".into(),
        }],
    }
}

/// Names of elements that have no end.
const VOID: [&str; 3] = ["meta", "input", "br"];

#[test]
fn every_element_ends() {
    let text = render(&page());
    let mut open: Vec<String> = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        let name: String = tag.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric()).collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "</{name}>");
        } else if !VOID.contains(&name.as_str()) {
            if name == "script" || name == "style" {
                rest = &rest[rest.find(&format!("</{name}")).expect("it ends")..];
            }
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn it_needs_no_network() {
    let text = render(&page()).replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "@import", "url(h", "fetch(", "import "] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn words_are_words_and_not_markup() {
    let mut page = page();
    page.cases[0].trace.steps[8].text = "</script><script>alert(1)</script>".into();
    page.cases[0].id = "\"><b>".into();
    let text = render(&page);
    assert!(!text.contains("<script>alert") && !text.contains("<b>"), "{text}");
}

#[test]
fn ids_are_unique() {
    let text = render(&page());
    let mut ids: Vec<_> = text.split(" id=\"").skip(1).map(|rest| rest.split('"').next()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

/// What runs in the page, and what it must find. Each line is a check; an error names its line.
const STEPS: &str = r#"
const find = s => document.querySelector(s), all = s => [...document.querySelectorAll(s)];
const check = (what, ok) => results.push((ok ? 'ok ' : 'BAD ') + what);
const seen = node => node.getBoundingClientRect().width > 0;
const press = key => find('.diagram').dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
check('there are two figures', all('.figure').length === 2);
check('one drawing of each is seen', all('svg.lanes').filter(seen).length === 2);
check('it is the one that fits', seen(all('svg.lanes')[innerWidth > 820 ? 0 : 1]));
check('nothing sticks out', document.documentElement.scrollWidth <= innerWidth);
check('the drawing fits', find('.diagram').scrollWidth <= find('.diagram').clientWidth);
const cells = all('.figure')[0].querySelectorAll('svg.lanes')[0].querySelectorAll('.cell').length;
check('the slider goes as far', Number(find('.stepper input').max) === cells && cells > 12);
check('nothing is chosen', all('.cell.here').length === 0 && all('.later').length === 0);
press('j');
check('a key chooses the first', all('.cell.here').length === 2 && find('.said').textContent.includes('PREPARE'));
check('what is later is faded', all('.figure')[0].querySelectorAll('.later').length > 10);
check('so are boxes', all('.figure')[0].querySelectorAll('.box.later').length === 4);
press('End');
check('the last one', find('.said').textContent.includes('Picture ' + cells) && all('.cell.later').length === 0);
check('says who, where and how', /CPU 1 finds.*call IPI.*interrupts closed.*src\/call\/single.rs:20/.test(find('.said').textContent));
press('ArrowUp');
check('back', find('.said').textContent.includes('Picture ' + (cells - 1)));
check('the slider follows', Number(find('.stepper input').value) === cells - 1);
check('the slider says it', find('.stepper input').getAttribute('aria-valuetext').includes('CPU 1 call IPI'));
press('Escape');
check('all again', all('.later').length === 0 && all('.cell.here').length === 0);
const slider = find('.stepper input'); slider.value = 3; slider.dispatchEvent(new Event('input'));
check('the slider steps', find('.said').textContent.includes('Picture 3'));
all('.figure')[0].querySelectorAll('.stepper button')[2].click();
check('the button steps', find('.said').textContent.includes('Picture 4'));
const bad = all('.figure .cell.bad').find(seen);
bad.dispatchEvent(new MouseEvent('mouseenter'));
check('the mouse shows the place', find('.said').textContent.includes('src/call/single.rs:20'));
bad.dispatchEvent(new MouseEvent('mouseleave'));
check('and gives it back', find('.said').textContent.includes('Picture 4'));
check('buttons have names', all('button').every(b => b.getAttribute('aria-label')));
check('drawings have names', all('svg.lanes').every(s => s.getAttribute('aria-label')));
check('links lead somewhere', all('a').every(a => document.getElementById(a.getAttribute('href').slice(1))));
check('letters are large enough', all('svg.lanes').filter(seen).every(s => s.getBoundingClientRect().width >= Number(s.getAttribute('width')) - 1));
"#;

/// A browser without a window, if this computer has one.
fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Runs `script` in the page, in a frame of this width, and returns what it noted. Nothing, if there is no browser.
fn browse(page: &str, width: u32, script: &str) -> Option<Vec<String>> {
    let Some(browser) = chromium() else {
        println!("skipped: there is no chromium on this computer");
        return None;
    };
    static NTH: AtomicUsize = AtomicUsize::new(0);
    let nth = NTH.fetch_add(1, Relaxed);
    let dir = std::env::temp_dir().join(format!("standstill-page-{}-{nth}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!(
        "<script>window.addEventListener('load', () => {{ const results = [];\n\
         try {{ {script} }} catch (error) {{ results.push('BAD ' + error); }}\n\
         parent.postMessage(results.join('\\n'), '*'); }});</script></body>"
    );
    std::fs::write(dir.join("page.html"), page.replace("</body>", &script)).unwrap();
    let frame = format!(
        "<!doctype html><pre id=result>nothing</pre>\n<script>addEventListener('message', e => {{ result.textContent = e.data; }});</script>\
         <iframe src=page.html width={width} height=800></iframe>"
    );
    std::fs::write(dir.join("frame.html"), frame).unwrap();
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            "--window-size=1400,1000",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", dir.join("frame.html").display()))
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    let text = String::from_utf8_lossy(&out.stdout);
    let result = text
        .split("<pre id=\"result\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next())
        .unwrap_or_else(|| panic!("no result: {text}\n{}", String::from_utf8_lossy(&out.stderr)));
    Some(result.lines().map(ToString::to_string).collect())
}

#[test]
fn it_can_be_stepped_through_in_a_browser() {
    for width in [360, 1200] {
        let Some(results) = browse(&render(&page()), width, STEPS) else { return };
        let checks = STEPS.matches("check('").count();
        assert_eq!(
            results.iter().filter(|line| line.starts_with("ok ")).count(),
            checks,
            "at {width}: {results:#?}"
        );
    }
}

/// The checks can fail: a page whose script is broken does not pass.
#[test]
fn a_page_without_its_script_fails_the_checks() {
    let broken = render(&page()).replace("'use strict';", "throw 1;");
    let Some(results) = browse(&broken, 360, STEPS) else { return };
    assert!(results.iter().any(|line| line.starts_with("BAD")), "{results:#?}");
}

/// Leaves the page and the drawing in a directory, to look at: `STANDSTILL_LOOK=dir`.
#[test]
fn leaves_them_to_look_at() {
    let Some(dir) = std::env::var_os("STANDSTILL_LOOK") else { return };
    std::fs::write(PathBuf::from(&dir).join("page.html"), render(&page())).unwrap();
    std::fs::write(PathBuf::from(&dir).join("trace.json"), crate::chrome::render(&race())).unwrap();
    std::fs::write(PathBuf::from(&dir).join("race.svg"), svg::render(&race(), Style::default())).unwrap();
}
