//! The page of all mutants.

use super::Mutant;
use std::fmt::Write;

/// Text of `docs/mutants.md`.
#[must_use]
pub fn page(mutants: &[Mutant]) -> String {
    let mut text = String::from(HEAD);
    for Mutant { block, fault, test, slow } in mutants {
        let core = if *slow { " (whole core)" } else { "" };
        let _ = writeln!(
            text,
            "| [{block}](blocks/{block}.md) | {} | `{}` | `{test}`{core} |",
            fault.kind(),
            fault.place()
        );
    }
    text
}

const HEAD: &str = "\
<!-- Generated from tests/mutants.toml. To write it again: FASTCAR_BLESS=1 cargo test -p fastcar-tests --test mutants -->

# Mutants

Faults that are put into the generated Verilog to see whether a test catches them. `make mutants` tries every one and ends with an
error unless each is caught; `make mutants SLOW=1` also tries those for which a whole core is compiled (some minutes each),
`make mutants BLOCK=fp/adder` those of one block. [Verification](verification.md#mutants) says what a fault is and when it counts as caught.

| kind | what is wrong with the signal |
|---|---|
| late | a cycle late |
| dropped | zero every fourth time that it is not: a beat is lost |
| sign | the highest bit is inverted |
| stuck | all bits are one for ever |
| rounding | the lowest bit is one for ever: half of all values are off by one unit in the last place |

A fault is in every module of its name, whatever the module's parameters.

| block | kind | module and signal | caught by |
|---|---|---|---|
";
