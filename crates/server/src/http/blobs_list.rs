//! Lists of blocks in XML: what Put Block List sends, and what Get Block List answers.
//!
//! The list is read by hand: three kinds of elements with base64 between them need no XML library, whose bounds would have to be
//! trusted. What is not such a list is refused.

use std::fmt::Write as _;

use hub::files::{Block, BlockId};

use super::blobs_fault::{Fault, Problem};

/// The blocks of a list, in its order, at most `blocks_max`.
///
/// `Latest` means the block that waits, or else the one of the published blob; of those only what waits is kept, so `Committed` names
/// none.
pub(super) fn parse(xml: &[u8], blocks_max: u64) -> Result<Vec<BlockId>, Fault> {
    let malformed = || Fault::from(Problem::InvalidXmlDocument);
    let xml = std::str::from_utf8(xml).map_err(|_| malformed())?;
    let xml = xml.trim_start_matches('\u{feff}').trim();
    let xml = match xml.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").ok_or_else(malformed)?.1.trim_start(),
        None => xml,
    };
    if matches!(xml, "<BlockList/>" | "<BlockList />") {
        return Ok(Vec::new());
    }
    let mut rest = xml
        .strip_prefix("<BlockList>")
        .and_then(|rest| rest.strip_suffix("</BlockList>"))
        .ok_or_else(malformed)?
        .trim_start();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (element, behind) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or_else(malformed)?;
        let (id, behind) = behind.split_once("</").ok_or_else(malformed)?;
        let behind = behind
            .strip_prefix(element)
            .and_then(|behind| behind.strip_prefix('>'))
            .ok_or_else(malformed)?;
        match element {
            "Latest" | "Uncommitted" => {}
            "Committed" => return Err(Problem::InvalidBlockList.into()),
            _ => return Err(malformed()),
        }
        if u64::try_from(blocks.len()).unwrap_or(u64::MAX) >= blocks_max {
            return Err(Problem::BlockCountExceedsLimit.into());
        }
        blocks.push(BlockId::parse(id.trim()).map_err(|_| Fault::from(Problem::InvalidBlockId))?);
        rest = behind.trim_start();
    }
    Ok(blocks)
}

/// The blocks that wait, if they are asked for. Published blobs are kept whole, without their blocks.
pub(super) fn print(waiting: &[Block]) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><CommittedBlocks/><UncommittedBlocks>",
    );
    for block in waiting {
        // A String takes everything.
        let _ = write!(
            xml,
            "<Block><Name>{}</Name><Size>{}</Size></Block>",
            block.id, block.bytes
        );
    }
    xml.push_str("</UncommittedBlocks></BlockList>");
    xml
}

/// What is read is within its bounds.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(xml: &[u8]) {
    if let Ok(blocks) = parse(xml, 100) {
        assert!(blocks.len() <= 100);
        assert!(
            blocks
                .iter()
                .all(|block| (1..=64).contains(&block.as_bytes().len()))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(xml: &str) -> Vec<Vec<u8>> {
        let blocks = parse(xml.as_bytes(), 10).unwrap();
        blocks.iter().map(|block| block.as_bytes().to_vec()).collect()
    }

    #[test]
    fn lists_as_clients_write_them() {
        let python = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>MQ==</Latest><Latest>Mg==</Latest></BlockList>";
        assert_eq!(ids(python), [b"1", b"2"]);
        let node = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><BlockList>\n  <Uncommitted>MQ==</Uncommitted>\n</BlockList>\n";
        assert_eq!(ids(node), [b"1"]);
        assert!(ids("<BlockList/>").is_empty());
        assert!(ids("<BlockList></BlockList>").is_empty());
    }

    #[test]
    fn what_is_no_list() {
        for xml in [
            "",
            "<BlockList>",
            "<BlockList>x</BlockList>",
            "<BlockList><Latest>MQ==</BlockList>",
            "<BlockList><Latest>MQ==</Uncommitted></BlockList>",
            "<BlockList><Other>MQ==</Other></BlockList>",
            "<BlockList><Latest>*</Latest></BlockList>",
            "<BlockList><Committed>MQ==</Committed></BlockList>",
            "<!DOCTYPE x><BlockList/>",
        ] {
            assert!(parse(xml.as_bytes(), 10).is_err(), "{xml}");
        }
        let long = format!("<BlockList>{}</BlockList>", "<Latest>MQ==</Latest>".repeat(11));
        assert!(parse(long.as_bytes(), 10).is_err());
        assert!(parse(b"\xff", 10).is_err());
    }

    #[test]
    fn a_list_of_what_waits() {
        let block = Block {
            id: BlockId::parse("MQ==").unwrap(),
            bytes: 7,
        };
        assert_eq!(
            print(&[block]),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><CommittedBlocks/><UncommittedBlocks>\
             <Block><Name>MQ==</Name><Size>7</Size></Block></UncommittedBlocks></BlockList>"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_texts_do_not_panic(xml in "(<?xml|\\?>|</?BlockList>|</?Latest>|[A-Za-z=<>/ ]{0,6}){0,12}") {
            let _ = parse(xml.as_bytes(), 10);
        }
    }
}
