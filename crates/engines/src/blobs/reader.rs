//! A published blob, read in pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use hub::BoxFuture;
use hub::files::{BlobError, BlobName, BlobProperties, BlobReader};

use super::description::{Content, Description};
use super::layout::{BlobKey, Layout};
use super::{blocking, failed};

pub(super) struct FileReader {
    file: Arc<File>,
    blob: BlobName,
    description: Description,
    // What was read so far from the beginning without a gap: at the end it must have the checksum of the whole.
    sequence: Content,
}

impl FileReader {
    pub(super) fn open(layout: &Layout, blob: &BlobName) -> Result<Option<Self>, BlobError> {
        let file = match File::open(layout.content(&BlobKey::of(blob))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let description = Description::read(&file, blob)?;
        Ok(Some(Self {
            file: Arc::new(file),
            blob: blob.clone(),
            description,
            sequence: Content::default(),
        }))
    }

    pub(super) fn etag(&self) -> u64 {
        self.description.properties.etag
    }
}

impl BlobReader for FileReader {
    fn properties(&self) -> &BlobProperties {
        &self.description.properties
    }

    fn read(&mut self, position: u64, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(async move {
            let content_bytes = self.description.properties.bytes;
            let rest = content_bytes.saturating_sub(position);
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(bytes_max);
            let file = Arc::clone(&self.file);
            let bytes = blocking(move || {
                let mut buffer = vec![0; wanted];
                file.read_exact_at(&mut buffer, position).map_err(failed)?;
                Ok(Bytes::from(buffer))
            })
            .await?;
            if position == self.sequence.bytes {
                self.sequence.append(&bytes);
                if self.sequence.bytes == content_bytes && self.sequence.crc != self.description.crc {
                    let text = format!("{}: the checksum of the content does not hold", self.blob);
                    return Err(BlobError::Damaged(text));
                }
            }
            Ok(bytes)
        })
    }
}
