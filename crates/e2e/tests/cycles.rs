//! Files of a crate use each other in one direction. Where two need each other, what they share belongs into a third.
//!
//! Of `use` lines outside tests: a module that is only declared (`mod`) or re-exported by its parent is no user of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::{Item, UseTree};

/// A module, as its path from the root of its crate.
type Module = Vec<String>;

/// The files of a crate, by module.
fn files(folder: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files(&path, &[&module[..], &[name]].concat(), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_root = ["mod", "lib", "main"].contains(&name.as_str());
            let of = if is_root { module.clone() } else { [&module[..], &[name]].concat() };
            found.insert(of, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Every path that a tree of `use` names.
fn paths(tree: &UseTree, before: &[String], found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => paths(&path.tree, &[before, &[path.ident.to_string()]].concat(), found),
        UseTree::Name(name) => found.push([before, &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => found.push([before, &[name.ident.to_string()]].concat()),
        UseTree::Glob(_) => found.push(before.to_vec()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| paths(tree, before, found)),
    }
}

/// The modules that each module uses.
fn uses(all: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of = |(module, text): (&Module, &String)| {
        let mut found = Vec::new();
        for item in syn::parse_file(text).unwrap().items {
            let Item::Use(item) = item else { continue };
            if !item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
                paths(&item.tree, &[], &mut found);
            }
        }
        let absolute = found.into_iter().filter_map(|path| absolute(module, &path));
        // The longest beginning that is a file: what is behind it is an item.
        let file =
            |path: Module| (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|path| all.contains_key(path));
        (module.clone(), absolute.filter_map(file).filter(|used| used != module).collect())
    };
    all.iter().map(of).collect()
}

fn absolute(module: &Module, path: &[String]) -> Option<Module> {
    let mut base = match path.first()?.as_str() {
        "crate" => return Some(path[1..].to_vec()),
        "self" | "super" => module.clone(),
        _ => return None,
    };
    let ups = path.iter().take_while(|step| *step == "super" || *step == "self");
    let ups: Vec<_> = ups.collect();
    ups.iter().filter(|step| **step == "super").for_each(|_| drop(base.pop()));
    base.extend_from_slice(&path[ups.len()..]);
    Some(base)
}

/// All that can be reached from `module`.
fn reached(uses: &BTreeMap<Module, BTreeSet<Module>>, module: &Module) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![module.clone()]);
    while let Some(next) = open.pop() {
        for used in uses.get(&next).into_iter().flatten() {
            if reached.insert(used.clone()) {
                open.push(used.clone());
            }
        }
    }
    reached
}

/// The modules that can be reached from themselves.
fn tied(all: &BTreeMap<Module, String>) -> Vec<String> {
    let uses = uses(all);
    let is_tied = |module: &&Module| reached(&uses, module).contains(*module);
    uses.keys().filter(is_tied).map(|module| module.join("::")).collect()
}

#[test]
fn no_files_of_a_crate_need_each_other() {
    let mut seen = 0;
    for crate_folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap() {
        let folder = crate_folder.unwrap().path();
        if !folder.join("src").is_dir() {
            continue;
        }
        seen += 1;
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut all = BTreeMap::new();
        files(&folder.join("src"), &Vec::new(), &mut all);
        let tied = tied(&all);
        assert!(tied.is_empty(), "{name}: {tied:?} need each other; move what they share into a file of its own");
    }
    assert!(seen > 12, "{seen} crates");
}

#[test]
fn a_cycle_is_found() {
    let of = |files: [(&str, &str); 3]| {
        let module = |name: &str| if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        tied(&files.map(|(name, text)| (module(name), text.to_owned())).into())
    };
    assert_eq!(of([("", "mod a;"), ("a", "use crate::b::{B, C};"), ("b", "use super::a;")]), ["a", "b"]);
    assert!(of([("", "mod a; pub use a::A;"), ("a", "use crate::b;"), ("b", "use std::fmt;")]).is_empty());
}
