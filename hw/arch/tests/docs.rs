//! The generated pages are those that are committed.

mod common;

use fastcar_arch::docs::{BLESS, boards_markdown, isa_markdown, registers_markdown};
use fastcar_arch::isa::{Command, ENUMS};

#[test]
fn isa_page_is_up_to_date() {
    common::committed("docs/isa.md", &isa_markdown(), BLESS);
}

#[test]
fn registers_page_is_up_to_date() {
    common::committed("docs/registers.md", &registers_markdown(), BLESS);
}

#[test]
fn boards_page_is_up_to_date() {
    common::committed("docs/boards.md", &boards_markdown(), BLESS);
}

#[test]
fn isa_page_names_every_field_and_value() {
    let page = isa_markdown();
    for info in Command::TABLE {
        let start = page.find(&format!("### `{}`\n", info.mnemonic)).expect("a section for each command");
        let section = page[start..].split("\n#").next().unwrap();
        for field in info.fields {
            assert!(section.contains(&format!("| `{}` |", field.name)), "{}.{}", info.mnemonic, field.name);
        }
    }
    for (_, text, _) in ENUMS.iter().flat_map(|e| e.rows) {
        assert!(page.contains(&format!("| `{text}` |")), "{text}");
    }
}

#[test]
fn pages_have_no_untidy_text() {
    for page in [isa_markdown(), registers_markdown(), boards_markdown()] {
        assert!(!page.contains("|  ") && !page.contains("\n\n\n"), "{page}");
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"));
    }
}
