//! A client of HTTP/1.1 that costs as little as one can: what is measured is who answers.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Of an answer's head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// An answer, without its body.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its head, as it came.
    pub(crate) head: String,
    /// Length of its body, in bytes.
    pub(crate) length: usize,
}

impl Answer {
    /// A header's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A connection that is kept open.
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    /// How much of the buffer is filled and not taken.
    filled: usize,
}

impl Connection<TcpStream> {
    /// Connects to a port of loopback.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that is open.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: vec![0; 256 * 1024],
            filled: 0,
        }
    }

    /// Sends a request and reads the whole answer; its body is dropped.
    pub(crate) async fn round(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let head_end = loop {
            if let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            if self.filled > MAX_HEAD {
                bail!("the answer's head is too long");
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let status = head.get(9..12).and_then(|text| text.parse().ok()).context("a status")?;
        let mut answer = Answer {
            status,
            head,
            length: 0,
        };
        let chunked = answer.header("transfer-encoding").is_some();
        self.take(head_end);
        if chunked {
            self.chunks(&mut answer.length).await?;
        } else {
            let length = answer.header("content-length").and_then(|text| text.parse().ok());
            answer.length = length.unwrap_or(0);
            self.skip(answer.length).await?;
        }
        Ok(answer)
    }

    async fn chunks(&mut self, length: &mut usize) -> Result<()> {
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer[..self.filled], b"\r\n") {
                    break end;
                }
                self.fill().await?;
            };
            let size = std::str::from_utf8(&self.buffer[..end])?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
            self.take(end + 2);
            self.skip(size + 2).await?;
            *length += size;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn skip(&mut self, mut length: usize) -> Result<()> {
        loop {
            let taken = length.min(self.filled);
            self.take(taken);
            length -= taken;
            if length == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    fn take(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }

    async fn fill(&mut self) -> Result<()> {
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            bail!("the connection was closed");
        }
        self.filled += read;
        Ok(())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
