//! The way to a device: NETCONF, and a place for a file. Over the user's own `ssh` and `sftp`, so that keys, agents, known
//! hosts and jump hosts are those of the user's configuration; or the socket and the folders of a root on this host.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::settings::Layout;
use crate::shell::driver::client::Client;

/// Where scripts wait on their way into the repository, below the harddisk.
const FOLDER: &str = "deploy";
const REPOSITORY: &str = "mirror/script-mgmt/process";

/// Both directions of a session.
pub(super) trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

/// Which device.
#[derive(Debug, Clone)]
pub enum Target {
    Host { host: String, port: Option<u16>, user: Option<String>, key: Option<PathBuf>, options: Vec<String> },
    Root(PathBuf),
}

pub(super) struct Link {
    pub(super) client: Client<Box<dyn Both>>,
    files: Files,
    /// Ends when this is dropped.
    _ssh: Option<Child>,
}

enum Files {
    Here { harddisk: PathBuf },
    There { words: Vec<String>, host: String },
}

impl Link {
    pub(super) async fn open(target: &Target) -> anyhow::Result<Self> {
        match target {
            Target::Root(root) => {
                let layout = Layout::open(root)?;
                let socket = layout.agent_socket();
                let stream = UnixStream::connect(&socket)
                    .await
                    .with_context(|| format!("no agent serves {}", layout.root().display()))?;
                let client = Client::open(Box::new(stream) as Box<dyn Both>).await?;
                Ok(Self { client, files: Files::Here { harddisk: layout.harddisk() }, _ssh: None })
            }
            Target::Host { host, port, user, key, options } => {
                let mut words: Vec<String> =
                    options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]).collect();
                words.extend(key.iter().flat_map(|key| ["-i".to_owned(), key.display().to_string()]));
                words.extend(["-o".to_owned(), format!("Port={}", port.unwrap_or(830))]);
                words.extend(user.iter().flat_map(|user| ["-o".to_owned(), format!("User={user}")]));
                let mut ssh = Command::new("ssh")
                    .args(&words)
                    .args(["-s", "--", host, "netconf"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .context("`ssh` cannot be started; install OpenSSH's client")?;
                let (Some(input), Some(output)) = (ssh.stdin.take(), ssh.stdout.take()) else {
                    bail!("`ssh` has no input and output");
                };
                let stream: Box<dyn Both> = Box::new(tokio::io::join(output, input));
                let client = Client::open(stream).await.with_context(|| format!("no NETCONF with {host}"))?;
                Ok(Self { client, files: Files::There { words, host: host.clone() }, _ssh: Some(ssh) })
            }
        }
    }

    /// Puts a script where the device can take it from; the device path of that folder.
    pub(super) async fn put(&self, app: &str, script: &str, bytes: &[u8]) -> anyhow::Result<String> {
        let folder = format!("{FOLDER}/{app}");
        match &self.files {
            Files::Here { harddisk } => {
                let folder = harddisk.join(&folder);
                tokio::fs::create_dir_all(&folder).await?;
                tokio::fs::write(folder.join(script), bytes).await?;
            }
            Files::There { .. } => {
                let near = Scratch::new()?;
                tokio::fs::write(near.file(), bytes).await?;
                // The folders may be there already.
                let batch = format!(
                    "-mkdir \"/harddisk:/{FOLDER}\"\n-mkdir \"/harddisk:/{folder}\"\nput \"{}\" \"/harddisk:/{folder}/{script}\"\n",
                    near.file().display()
                );
                self.sftp(&batch).await?;
            }
        }
        Ok(format!("/harddisk:/{folder}"))
    }

    /// The script as the repository has it.
    pub(super) async fn fetch(&self, script: &str) -> anyhow::Result<Vec<u8>> {
        match &self.files {
            Files::Here { harddisk } => Ok(tokio::fs::read(harddisk.join(REPOSITORY).join(script)).await?),
            Files::There { .. } => {
                let near = Scratch::new()?;
                let file = near.file();
                self.sftp(&format!("get \"/harddisk:/{REPOSITORY}/{script}\" \"{}\"\n", file.display())).await?;
                Ok(tokio::fs::read(near.file()).await?)
            }
        }
    }

    async fn sftp(&self, batch: &str) -> anyhow::Result<()> {
        let Files::There { words, host } = &self.files else { bail!("there is no need of sftp here") };
        let mut sftp = Command::new("sftp")
            .args(words)
            .args(["-q", "-b", "-", "--", host])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("`sftp` cannot be started; install OpenSSH's client")?;
        if let Some(mut input) = sftp.stdin.take() {
            input.write_all(batch.as_bytes()).await?;
        }
        let done = sftp.wait_with_output().await?;
        if !done.status.success() {
            bail!("files cannot be moved: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

/// A file of this host that goes when it is not needed any more.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let folder = nix::unistd::mkdtemp(&std::env::temp_dir().join("procyon-deploy-XXXXXX"))?;
        Ok(Self(folder))
    }

    fn file(&self) -> PathBuf {
        self.0.join("script")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in a folder for such things.
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
