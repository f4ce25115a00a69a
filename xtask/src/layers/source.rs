//! What the files of a crate import from each other, read off their text.
//!
//! It sees `use` lines, and paths that begin with `crate`, `super` or the name of a module below.
//! It does not see what a macro writes, what a glob brings in, or methods whose `impl` is elsewhere.
//! Test modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// The path of a module in its crate: none for the root.
pub(super) type Module = Vec<String>;

/// The files of one crate, and which of them imports which.
pub(super) struct Crate {
    /// Each module with its file, from the crate's `src`.
    pub(super) files: BTreeMap<Module, String>,
    pub(super) imports: BTreeMap<Module, BTreeSet<Module>>,
}

/// The text without comments and without what is in quotes.
fn code(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['/', '"', '\'']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            out.push_str("\"\"");
            end_of_string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push_str(&rest[..1]);
            1
        };
        rest = &rest[skipped..];
    }
    out + rest
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The text without the items behind `#[cfg(test)]`, and the modules among them that have files.
fn without_tests(text: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut rest, mut modules) = (String::new(), text, Vec::new());
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let end = rest.find([';', '{', ',']).unwrap_or(rest.len());
        let item = rest[..end].trim();
        if let Some(name) = item.rsplit_once("mod ").filter(|_| rest[end..].starts_with(';')) {
            modules.push(name.1.trim().to_string());
        }
        rest = if rest[end..].starts_with('{') {
            &rest[end + block(&rest[end..])..]
        } else {
            rest.get(end + 1..).unwrap_or("")
        };
    }
    (out + rest, modules)
}

/// How long the block is that the text begins with.
fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The paths of a `use`, one for each name that it brings in.
fn expand(tree: &str, to: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, body)) = tree.split_once('{').filter(|_| tree.ends_with('}')) else {
        to.push(tree.split(" as ").next().unwrap_or(tree).trim().to_string());
        return;
    };
    let (body, mut depth, mut begin) = (&body[..body.len() - 1], 0_usize, 0);
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let part = body[begin..at].trim();
                begin = at + 1;
                if !part.is_empty() {
                    expand(&format!("{head}{part}"), to);
                }
            }
            _ => {}
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths in `text` that begin with one of `heads`.
fn paths(text: &str, heads: &BTreeSet<String>, to: &mut Vec<String>) {
    for word in text.split(|c: char| !is_name(c) && c != ':') {
        let word = word.trim_matches(':');
        if let Some((head, _)) = word.split_once("::")
            && heads.contains(head)
        {
            to.push(word.to_string());
        }
    }
}

impl Crate {
    /// Reads all files below `src`.
    pub(super) fn read(src: &Path) -> io::Result<Crate> {
        let mut texts = BTreeMap::new();
        collect(src, &mut Vec::new(), &mut texts)?;
        Ok(Crate::of(texts))
    }

    /// Of the files with these names and texts.
    fn of(texts: BTreeMap<String, String>) -> Crate {
        let mut files = BTreeMap::new();
        let mut codes = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (file, text) in &texts {
            let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
            let module: Module = match name {
                "lib" | "main" => Vec::new(),
                name => name.split('/').map(str::to_string).collect(),
            };
            let (text, test_modules) = without_tests(&code(text));
            tests.extend(test_modules.into_iter().map(|name| {
                let mut module = module.clone();
                module.push(name);
                module
            }));
            files.insert(module.clone(), file.clone());
            codes.insert(module, text);
        }
        files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        let mut imports = BTreeMap::new();
        for module in files.keys() {
            imports.insert(module.clone(), imports_of(module, &codes[module], &files));
        }
        Crate { files, imports }
    }
}

/// The files that the one of `module` imports.
fn imports_of(module: &Module, text: &str, files: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let used = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].chars().next_back();
            before.is_none_or(|c| c.is_whitespace())
        });
        match used {
            Some(at) if statement.ends_with(';') => {
                rest.push_str(&statement[..at]);
                expand(&statement[at + 4..statement.len() - 1].replace('\n', " "), &mut found);
            }
            _ => rest.push_str(statement),
        }
    }
    let below = |child: &&Module| child.len() == module.len() + 1 && child.starts_with(module);
    let mut heads: BTreeSet<String> =
        files.keys().filter(below).filter_map(|child| child.last().cloned()).collect();
    heads.extend(["crate".to_string(), "super".to_string()]);
    paths(&rest, &heads, &mut found);
    let found = found.iter().filter_map(|path| target(module, path, files));
    found.filter(|target| target != module).collect()
}

/// The module that `path` leads to from `module`: the deepest that has a file.
fn target(module: &Module, path: &str, files: &BTreeMap<Module, String>) -> Option<Module> {
    let mut names = path.split("::").map(str::trim).peekable();
    let mut to: Module = match *names.peek()? {
        "crate" => Vec::new(),
        "super" => module.clone(),
        "self" => module.clone(),
        first => {
            let mut child = module.clone();
            child.push(first.to_string());
            files.contains_key(&child).then(|| module.clone())?
        }
    };
    for name in names {
        match name {
            "crate" | "self" => {}
            "super" => {
                to.pop();
            }
            name => to.push(name.to_string()),
        }
    }
    while !files.contains_key(&to) {
        to.pop()?;
    }
    Some(to)
}

fn collect(at: &Path, names: &mut Vec<String>, to: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        names.push(entry.file_name().to_string_lossy().into_owned());
        let name = names.join("/");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), names, to)?;
        } else if name.ends_with(".rs") {
            to.insert(name, fs::read_to_string(entry.path())?);
        }
        names.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Vec<String> {
        let texts = files.iter().map(|(name, text)| ((*name).to_string(), (*text).to_string())).collect();
        let all = Crate::of(texts);
        let arrow = |(from, to): (&Module, &BTreeSet<Module>)| {
            let from = all.files[from].clone();
            let to: Vec<_> = to.iter().map(|to| all.files[to].clone()).collect();
            (!to.is_empty()).then(|| format!("{from} -> {}", to.join(", ")))
        };
        all.imports.iter().filter_map(arrow).collect()
    }

    #[test]
    fn imports_are_seen() {
        let found = read(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::{self, A};\n"),
            ("a/mod.rs", "mod deep;\nuse crate::b::{B, C as D};\nfn f() { deep::g() }\n"),
            ("a/deep.rs", "use super::A;\nfn g() { crate::b::h(\"crate::a::A\") }\n"),
            ("b.rs", "// use crate::a::A;\nfn h() { let c = '\"'; super::a::f() }\n"),
        ]);
        let wanted = [
            "lib.rs -> a/mod.rs",
            "a/mod.rs -> a/deep.rs, b.rs",
            "a/deep.rs -> a/mod.rs, b.rs",
            "b.rs -> a/mod.rs",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn tests_are_left_out() {
        let found = read(&[
            ("lib.rs", "mod a;\n#[cfg(test)]\nmod far;\n"),
            (
                "a.rs",
                "#[cfg(test)]\nuse crate::far::F;\n#[cfg(test)]\nmod tests {\n    use crate::far::{F};\n}\n",
            ),
            ("far.rs", "use crate::a::A;\n"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }
}
