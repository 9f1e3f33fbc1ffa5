//! The fenced blocks of a document and their names.
//!
//! | name | what it holds |
//! |---|---|
//! | `toml pack` | a whole pack; the blocks below speak of it |
//! | `toml ops` | the ops of a step in the frame that `framed` puts around them, then tables of a pack |
//! | `text problems` | the problems for which the pack above is refused, one a line |
//! | `json lower`, `json upper` | a record; after another one, what that becomes, byte for byte; and it must return |
//! | `json upper from` | a record that starts a way of its own |
//! | `json upper edited` | the record above as a server has rewritten it; the carry stays |
//! | `json carry` | the carry that the record above has left |
//! | `text fault 2` | the fault of bringing the record above to version 2; `detect` for detecting it |
//! | `text judge 2 1` | the verdict on serving a record of version 2 from a server of version 1 |
//! | `sh` | commands; lines that start with `unskew` must end well |

/// A fenced block.
pub(crate) struct Block {
    /// Where it starts.
    pub(crate) line: usize,
    /// Its language and name.
    pub(crate) words: Vec<String>,
    /// What stands between the fences.
    pub(crate) text: String,
}

/// All blocks of a document, in order.
pub(crate) fn of(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                let words = info.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
                blocks.push(Block { line: index + 1, words, text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "a block is not closed");
    blocks
}
