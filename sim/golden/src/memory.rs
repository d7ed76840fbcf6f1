//! Device memory: one byte array per channel, and records striped over them.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::units::Bytes;

/// A memory image: the used part of every channel.
#[derive(Clone, Debug)]
pub struct Memory {
    channels: Vec<Vec<u8>>,
    records: RecordLayout,
}

/// Not one memory for every channel.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{found} channel memories are given, the configuration has {expected} channels")]
pub struct ChannelCount {
    /// Memories given.
    pub found: usize,
    /// Channels of the configuration.
    pub expected: usize,
}

impl Memory {
    /// Zeroed memory of `size` bytes on each channel of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig, size: Bytes) -> Self {
        let channels = vec![vec![0; size.get() as usize]; config.channels() as usize];
        Self { channels, records: RecordLayout::new(config) }
    }

    /// Memory that is already there: the bytes of every channel, which may differ in number.
    ///
    /// # Errors
    /// [`ChannelCount`] where there is not one for every channel of the configuration.
    pub fn from_channels(config: &AccelConfig, channels: Vec<Vec<u8>>) -> Result<Self, ChannelCount> {
        let (found, expected) = (channels.len(), config.channels() as usize);
        if found != expected {
            return Err(ChannelCount { found, expected });
        }
        Ok(Self { channels, records: RecordLayout::new(config) })
    }

    /// The bytes of every channel.
    #[must_use]
    pub fn into_channels(self) -> Vec<Vec<u8>> {
        self.channels
    }

    /// Bytes that every channel has.
    #[must_use]
    pub fn size(&self) -> Bytes {
        Bytes(self.channels.iter().map(Vec::len).min().unwrap_or(0) as u64)
    }

    /// One channel's bytes.
    #[must_use]
    pub fn channel(&self, channel: usize) -> &[u8] {
        &self.channels[channel]
    }

    /// One channel's bytes, to write.
    pub fn channel_mut(&mut self, channel: usize) -> &mut [u8] {
        &mut self.channels[channel]
    }

    /// Reads the record at local address `addr`.
    pub fn read_record(&self, addr: u64, out: &mut [u8]) {
        for (place, range) in self.records.pieces(out.len() as u64) {
            let start = (addr + place.offset) as usize;
            let len = range.len();
            out[range].copy_from_slice(&self.channels[place.channel][start..start + len]);
        }
    }

    /// Writes the record at local address `addr`: whole beats of every channel, with zeros behind the record.
    pub fn write_record(&mut self, addr: u64, bytes: &[u8]) {
        let local = self.records.local_bytes(bytes.len() as u64).get();
        for channel in &mut self.channels {
            channel[addr as usize..(addr + local) as usize].fill(0);
        }
        for (place, range) in self.records.pieces(bytes.len() as u64) {
            let start = (addr + place.offset) as usize;
            self.channels[place.channel][start..start + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    /// Reads a vector record of binary32 words.
    pub fn read_vector(&self, addr: u64, out: &mut [f32]) {
        self.read_record(addr, bytemuck::cast_slice_mut(out));
    }

    /// Writes a vector record of binary32 words.
    pub fn write_vector(&mut self, addr: u64, words: &[f32]) {
        self.write_record(addr, bytemuck::cast_slice(words));
    }
}
