//! What a WebSocket server sends first: its answer to the upgrade (RFC 6455 §4.2.2), then frames
//! (§5.2). Frames that are compressed by an extension cannot be read.

/// Read byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebSocketReader {
    /// Within the status line, with the bytes that were as expected.
    StatusLine(u8),
    /// Behind it, with the bytes of the blank line that were seen.
    Header(u8),
    FrameType,
    FrameLength {
        is_data: bool,
    },
    /// `left`: bytes of the length.
    ExtendedLength {
        is_data: bool,
        left: u8,
        value: u32,
    },
    /// `left`: bytes of the payload, at least one.
    Payload {
        is_data: bool,
        left: u32,
    },
    Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerByte {
    /// Of a binary message.
    Data,
    /// Around the data.
    Framing,
    /// It is no answer to an upgrade, or no message with data follows.
    Wrong,
}

const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101";
const BLANK_LINE: &[u8] = b"\r\n\r\n";
const RESERVED_BITS: u8 = 0x70;
const MASKED: u8 = 0x80;

impl WebSocketReader {
    pub(crate) fn new() -> Self {
        Self::StatusLine(0)
    }

    pub(crate) fn read(&mut self, byte: u8) -> ServerByte {
        let is_data = matches!(self, Self::Payload { is_data: true, .. });
        *self = self.after(byte);
        match self {
            Self::Wrong => ServerByte::Wrong,
            _ if is_data => ServerByte::Data,
            _ => ServerByte::Framing,
        }
    }

    fn after(self, byte: u8) -> Self {
        match self {
            Self::StatusLine(right) if SWITCHING_PROTOCOLS.get(usize::from(right)) == Some(&byte) => {
                match usize::from(right) + 1 == SWITCHING_PROTOCOLS.len() {
                    true => Self::Header(0),
                    false => Self::StatusLine(right + 1),
                }
            }
            Self::Header(seen) if BLANK_LINE.get(usize::from(seen)) == Some(&byte) => {
                if usize::from(seen) + 1 == BLANK_LINE.len() {
                    Self::FrameType
                } else {
                    Self::Header(seen + 1)
                }
            }
            Self::Header(_) => Self::Header(u8::from(byte == b'\r')),
            Self::FrameType => match (byte & RESERVED_BITS, byte & 0x0f) {
                // A continuation, and a binary frame.
                (0, 0 | 2) => Self::FrameLength { is_data: true },
                // A ping, and a pong.
                (0, 9 | 10) => Self::FrameLength { is_data: false },
                _ => Self::Wrong,
            },
            Self::FrameLength { is_data } => match byte {
                126 => Self::ExtendedLength { is_data, left: 2, value: 0 },
                127 => Self::ExtendedLength { is_data, left: 8, value: 0 },
                MASKED.. => Self::Wrong,
                len => Self::payload(is_data, len.into()),
            },
            Self::ExtendedLength { is_data, left, value } => {
                // A frame of over 4 GiB is none of MQTT.
                let Some(value) = value.checked_mul(256) else { return Self::Wrong };
                let value = value | u32::from(byte);
                match left - 1 {
                    0 => Self::payload(is_data, value),
                    left => Self::ExtendedLength { is_data, left, value },
                }
            }
            Self::Payload { is_data, left } => Self::payload(is_data, left - 1),
            Self::StatusLine(_) | Self::Wrong => Self::Wrong,
        }
    }

    fn payload(is_data: bool, left: u32) -> Self {
        if left == 0 { Self::FrameType } else { Self::Payload { is_data, left } }
    }
}
