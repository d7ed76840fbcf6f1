//! Why bytes are no container, or a section is not what it should be.

/// A container, or one of its sections, is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XclbinError {
    /// Fewer bytes than a header has.
    #[error("not an xclbin: {found} bytes, and the header alone has {needed}")]
    Short {
        /// Bytes found.
        found: usize,
        /// Bytes of a header.
        needed: usize,
    },
    /// The first bytes are another format's.
    #[error("not an xclbin: the first bytes are \"{found}\" where \"xclbin2\\0\" is expected")]
    Magic {
        /// The bytes found, escaped.
        found: String,
    },
    /// Signed: the bytes behind the sections are the vendor's.
    #[error(
        "the xclbin is signed ({length} bytes of signature): a change would break the signature; \
         remove it first (xclbinutil --remove-signature)"
    )]
    Signed {
        /// Signature length that the header names.
        length: i32,
    },
    /// The file is not as long as its header says.
    #[error(
        "the xclbin is {found} bytes long and its header says {expected}: it is cut short or damaged; copy it again"
    )]
    Length {
        /// Bytes found.
        found: usize,
        /// Length in the header.
        expected: u64,
    },
    /// The headers of all sections do not fit.
    #[error("the xclbin names {found} sections, and {limit} is the most that its {bytes} bytes hold")]
    SectionCount {
        /// Sections that the header names.
        found: u32,
        /// Most that there can be.
        limit: usize,
        /// Bytes of the file.
        bytes: usize,
    },
    /// A section reaches out of the file or into the headers.
    #[error(
        "section {index} ({kind}) is {size} bytes at {offset}: it must lie within bytes {first} to {end} of the file"
    )]
    SectionRange {
        /// Position among the section headers.
        index: usize,
        /// Kind.
        kind: String,
        /// Offset that its header names.
        offset: u64,
        /// Size that its header names.
        size: u64,
        /// First byte behind the headers.
        first: usize,
        /// Bytes of the file.
        end: usize,
    },
    /// Two sections share bytes.
    #[error("sections {first} and {second} overlap: the second begins at {offset}, inside the first")]
    SectionOverlap {
        /// Position of the one that begins first.
        first: usize,
        /// Position of the other.
        second: usize,
        /// Where the other begins.
        offset: u64,
    },
    /// Two sections of a kind of which there is one.
    #[error("there are two sections {kind}: a reader could not tell which one counts")]
    SectionTwice {
        /// Kind.
        kind: String,
    },
    /// A section that is needed is not there.
    #[error("the xclbin has no section {kind}; its sections are {found}")]
    SectionMissing {
        /// Kind.
        kind: String,
        /// The sections that there are.
        found: String,
    },
    /// Text longer than its field.
    #[error("{field} is \"{found}\": at most {limit} bytes fit")]
    TextTooLong {
        /// Field.
        field: &'static str,
        /// The text.
        found: String,
        /// Most bytes.
        limit: usize,
    },
    /// Text with a zero byte inside, where a reader would stop.
    #[error("{field} is {found:?}: a zero byte ends a text and cannot stand inside it")]
    TextEnds {
        /// Field.
        field: &'static str,
        /// The text.
        found: String,
    },
    /// A text field without a zero byte.
    #[error("{field} does not end: a zero byte is expected behind at most {limit} bytes of text")]
    TextUnterminated {
        /// Field.
        field: &'static str,
        /// Most bytes.
        limit: usize,
    },
    /// A text field that is no UTF-8.
    #[error("{field} is no UTF-8 text")]
    TextEncoding {
        /// Field.
        field: &'static str,
    },
    /// A section names more entries than it has bytes for, or a negative number of them.
    #[error("section {kind} names {found} entries and has {bytes} bytes: room for {limit}")]
    EntryCount {
        /// Kind.
        kind: &'static str,
        /// Entries named.
        found: i64,
        /// Bytes of the section.
        bytes: usize,
        /// Entries that the bytes hold.
        limit: usize,
    },
    /// More entries than a section's counter can say.
    #[error("section {kind} would have {found} entries: at most {limit} can be counted")]
    TooManyEntries {
        /// Kind.
        kind: &'static str,
        /// Entries.
        found: usize,
        /// Most entries.
        limit: usize,
    },
    /// A number that its field cannot hold, or that means nothing.
    #[error("{field} is {found}: must be {allowed}")]
    Number {
        /// Field.
        field: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A section that names something that another section does not have.
    #[error("{what} refers to {found}, which does not exist: there are {existing}")]
    Dangling {
        /// What refers.
        what: String,
        /// What it refers to.
        found: String,
        /// What there is.
        existing: String,
    },
    /// Text metadata that cannot be read.
    #[error("section {kind} cannot be read: {message}")]
    Metadata {
        /// Kind.
        kind: &'static str,
        /// The parser's account, or the limit that was broken.
        message: String,
    },
}
