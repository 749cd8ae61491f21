//! The files of each crate form layers, without cycles. An import counts for the file that defines
//! the name; `#[cfg(test)]` does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use certward_tests::{files_of, workspace_root};
use syn::{
    Attribute, File, Item, UseTree, Visibility,
    visit::{self, Visit},
};

const CRATES: [&str; 8] = ["pki", "store", "lifecycle", "outbound", "alerts", "gateway", "api", "certward"];

#[test]
fn no_file_depends_on_itself_by_way_of_others() {
    let mut cycles = Vec::new();
    for name in CRATES {
        let source = Source::read(&workspace_root().join("crates").join(name).join("src"));
        assert!(source.files.len() > 5, "{name} is not read");
        let arrows = source.arrows();
        assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 5, "{name} has no arrows");
        cycles.extend(
            groups_in_cycles(&arrows).into_iter().map(|group| format!("{name}: {}", group.join(", "))),
        );
    }
    assert!(cycles.is_empty(), "files that depend on each other:\n{}", cycles.join("\n"));
}

#[test]
fn no_type_name_stands_for_two_things() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in CRATES {
        let source = Source::read(&workspace_root().join("crates").join(name).join("src"));
        for (path, file) in &source.files {
            let mut types = Vec::new();
            type_names(&file.items, &mut types);
            for of in types {
                places.entry(of).or_default().push(format!("{name}/{}", path.display()));
            }
        }
    }
    assert!(places.len() > 300, "only {} types are found", places.len());
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    let twice: Vec<_> = twice.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert!(twice.is_empty(), "types of one name:\n{}", twice.join("\n"));
}

/// The types that a file defines, outside of tests.
fn type_names(items: &[Item], names: &mut Vec<String>) {
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        match item {
            Item::Struct(item) => names.push(item.ident.to_string()),
            Item::Enum(item) => names.push(item.ident.to_string()),
            Item::Trait(item) => names.push(item.ident.to_string()),
            Item::Type(item) => names.push(item.ident.to_string()),
            Item::Mod(item) => type_names(item.content.as_ref().map_or(&[], |(_, items)| items), names),
            _ => {}
        }
    }
}

#[test]
fn a_cycle_by_way_of_a_re_export_is_found() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; pub use b::B;"),
        ("a.rs", "use crate::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c/mod.rs", "mod d; pub use d::C;"),
        ("c/d.rs", "pub struct C(crate::a::A); #[cfg(test)] use crate::c::Other;"),
    ];
    let source = Source::of(files.map(|(name, text)| (PathBuf::from(name), syn::parse_file(text).unwrap())));
    assert_eq!(groups_in_cycles(&source.arrows()), [["a.rs", "b.rs", "c/d.rs"]]);
    let straight = [("lib.rs", "mod a; mod b;"), ("a.rs", "use super::b::B;"), ("b.rs", "pub struct B;")];
    let source =
        Source::of(straight.map(|(name, text)| (PathBuf::from(name), syn::parse_file(text).unwrap())));
    assert_eq!(groups_in_cycles(&source.arrows()), Vec::<Vec<String>>::new());
}

type ModulePath = Vec<String>;

struct Source {
    files: BTreeMap<PathBuf, File>,
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Absolute paths of re-exports.
    exports: BTreeMap<String, ModulePath>,
    /// Of `pub use path::*`.
    globs: Vec<ModulePath>,
}

impl Source {
    fn read(folder: &Path) -> Self {
        let parse = |file: PathBuf| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(folder).unwrap().to_owned(), syn::parse_file(&text).unwrap())
        };
        Self::of(files_of(folder, "rs").into_iter().map(parse))
    }

    fn of(files: impl IntoIterator<Item = (PathBuf, File)>) -> Self {
        let files: BTreeMap<_, _> = files.into_iter().collect();
        let mut modules = BTreeMap::new();
        for (name, file) in &files {
            note_module(name, &module_of(name), &file.items, &mut modules);
        }
        Self { files, modules }
    }

    /// From each file to those that define its names.
    fn arrows(&self) -> BTreeMap<String, BTreeSet<String>> {
        let arrows = self.files.iter().map(|(name, file)| {
            let mut named = Named::new(module_of(name), is_door(file));
            named.visit_file(file);
            let targets = named.paths.iter().filter_map(|path| self.defining_file(path, 0));
            let targets = targets.filter(|target| target != name).map(|target| target.display().to_string());
            (name.display().to_string(), targets.collect())
        });
        arrows.collect()
    }

    fn defining_file(&self, path: &[String], depth: usize) -> Option<PathBuf> {
        assert!(depth < 16, "{path:?}");
        let known = (0..=path.len()).rev().find(|len| self.modules.contains_key(&path[..*len]))?;
        let module = &self.modules[&path[..known]];
        let Some(name) = path.get(known) else { return Some(module.file.clone()) };
        if let Some(exported) = module.exports.get(name) {
            return self.defining_file(&[exported.as_slice(), &path[known + 1..]].concat(), depth + 1);
        }
        let inside = |glob: &ModulePath| {
            self.modules.get(glob).is_some_and(|module| module.exports.contains_key(name))
        };
        match module.globs.iter().find(|glob| inside(glob)) {
            Some(glob) => self.defining_file(&[glob.as_slice(), &path[known..]].concat(), depth + 1),
            None => Some(module.file.clone()),
        }
    }
}

fn note_module(file: &Path, path: &[String], items: &[Item], modules: &mut BTreeMap<ModulePath, Module>) {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    for item in items {
        match item {
            Item::Use(item) if !matches!(item.vis, Visibility::Inherited) && !is_test(&item.attrs) => {
                for (name, target) in leaves(&item.tree, path) {
                    match name.as_str() {
                        "*" => module.globs.push(target),
                        _ => drop(module.exports.insert(name, target)),
                    }
                }
            }
            Item::Mod(item) if !is_test(&item.attrs) => {
                if let Some((_, items)) = &item.content {
                    note_module(file, &[path, &[item.ident.to_string()]].concat(), items, modules);
                }
            }
            _ => {}
        }
    }
    modules.insert(path.to_vec(), module);
}

/// The names of a `use` with absolute paths, none of other crates.
fn leaves(tree: &UseTree, here: &[String]) -> Vec<(String, ModulePath)> {
    let mut found = Vec::new();
    walk(tree, &mut Vec::new(), &mut found);
    let absolute = |(name, path): (String, ModulePath)| Some((name, absolute(&path, here)?));
    found.into_iter().filter_map(absolute).collect()
}

fn walk(tree: &UseTree, before: &mut ModulePath, found: &mut Vec<(String, ModulePath)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            walk(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, found)),
        UseTree::Glob(_) => found.push(("*".to_owned(), before.clone())),
        UseTree::Name(name) if name.ident == "self" => {
            found.push((before.last().cloned().unwrap_or_default(), before.clone()));
        }
        UseTree::Name(name) => {
            found.push((name.ident.to_string(), [&before[..], &[name.ident.to_string()]].concat()));
        }
        UseTree::Rename(rename) => {
            found.push((rename.rename.to_string(), [&before[..], &[rename.ident.to_string()]].concat()));
        }
    }
}

/// `None` if it may be another crate's.
fn absolute(path: &[String], here: &[String]) -> Option<ModulePath> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([here, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            Some([&here[..here.len().checked_sub(ups)?], &path[ups..]].concat())
        }
        // In a door, a child without `self::`.
        _ => Some([here, path].concat()),
    }
}

/// The names that a file uses of its own crate.
struct Named {
    here: ModulePath,
    /// Whether re-exports are ignored.
    door: bool,
    paths: Vec<ModulePath>,
}

impl Named {
    fn new(here: ModulePath, door: bool) -> Self {
        Self { here, door, paths: Vec::new() }
    }
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !self.door || matches!(item.vis, Visibility::Inherited) {
            self.paths.extend(leaves(&item.tree, &self.here).into_iter().map(|(_, path)| path));
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.here.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.here.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: ModulePath = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.first().is_some_and(|first| matches!(first.as_str(), "crate" | "self" | "super"))
            && names.len() > 1
        {
            self.paths.extend(absolute(&names, &self.here));
        }
        visit::visit_path(self, path);
    }
}

/// A file that only declares and re-exports modules.
fn is_door(file: &File) -> bool {
    file.items.iter().all(|item| matches!(item, Item::Mod(_) | Item::Use(_)))
}

fn is_test(attributes: &[Attribute]) -> bool {
    let test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    };
    attributes.iter().any(test)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn module_of(file: &Path) -> ModulePath {
    let mut path: ModulePath = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if path.last().is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod")) {
        path.pop();
    }
    path
}

fn groups_in_cycles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, others) in &reached {
        if others.contains(file) {
            let group = others.iter().filter(|other| reached[*other].contains(file));
            groups.insert(group.map(|other| (*other).clone()).collect());
        }
    }
    groups.into_iter().collect()
}

fn reach<'a>(arrows: &'a BTreeMap<String, BTreeSet<String>>, from: &'a String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&String> = arrows[from].iter().collect();
    while let Some(file) = waiting.pop() {
        if found.insert(file) {
            waiting.extend(arrows.get(file).into_iter().flatten());
        }
    }
    found
}
