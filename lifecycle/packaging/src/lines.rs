//! The source files of which a program holds instructions, as its line tables say.
//!
//! Names of compilation units would say too much: the linker keeps units of which no instruction is left.

use std::borrow::Cow;
use std::collections::BTreeSet;

use gimli::{AttributeValue, Dwarf, EndianSlice, LineProgramHeader, LittleEndian, SectionId, Unit};
use object::{Object, ObjectSection};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The paths of all files that `program` has instructions of; empty without debug information.
///
/// Fails with a text where the program or its debug information is damaged.
pub fn sources(program: &[u8]) -> Result<BTreeSet<String>, String> {
    let file = object::File::parse(program).map_err(|error| error.to_string())?;
    let section = |id: SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        let section = file.section_by_name(id.name());
        Ok(section.and_then(|section| section.uncompressed_data().ok()).unwrap_or_default())
    };
    let sections = gimli::DwarfSections::load(section).map_err(|error| error.to_string())?;
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    collect(&dwarf).map_err(|error| error.to_string())
}

fn collect(dwarf: &Dwarf<Slice<'_>>) -> gimli::Result<BTreeSet<String>> {
    let mut sources = BTreeSet::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else { continue };
        let mut files = BTreeSet::new();
        let mut rows = program.rows();
        // Sequences of functions that the linker dropped begin at address 0.
        let mut start = None;
        while let Some((_, row)) = rows.next_row()? {
            let start_of_sequence = *start.get_or_insert(row.address());
            if row.end_sequence() {
                start = None;
            } else if start_of_sequence != 0 {
                files.insert(row.file_index());
            }
        }
        let header = rows.header();
        for index in files {
            sources.extend(path(dwarf, &unit, header, index)?);
        }
    }
    Ok(sources)
}

/// The file at `index` of a unit: below its directory, which may be below the unit's.
fn path(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    header: &LineProgramHeader<Slice<'_>>,
    index: u64,
) -> gimli::Result<Option<String>> {
    let Some(file) = header.file(index) else { return Ok(None) };
    let text = |value: AttributeValue<Slice<'_>>| -> gimli::Result<String> {
        Ok(dwarf.attr_string(unit, value)?.to_string_lossy().into_owned())
    };
    let mut path = unit.comp_dir.map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(dir) = file.directory(header) {
        join(&mut path, &text(dir)?);
    }
    join(&mut path, &text(file.path_name())?);
    Ok(Some(path))
}

fn join(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_says_that_it_holds_this_file() {
        let program = std::fs::read(std::env::current_exe().expect("it runs")).expect("it can be read");
        let sources = sources(&program).expect("its tables are whole");
        assert!(sources.iter().any(|path| path.ends_with("packaging/src/lines.rs")), "{}", sources.len());
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(sources(b"#!/bin/sh\n").is_err());
    }
}
