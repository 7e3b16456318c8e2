//! `mistle token`.

use clap::Subcommand;
use http::Method;
use mistle_protocol::api::{CreatedToken, NewToken, Page, Token};
use mistle_protocol::id::TokenId;

use super::client::Client;
use super::output::{self, Output, short};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token and print its secret, once
    Create {
        /// What it is for
        name: String,
    },
    /// List tokens
    List,
    /// Revoke a token
    Revoke {
        /// Its id
        id: TokenId,
    },
}

pub(super) async fn run(client: &Client, command: Command, out: Output) -> anyhow::Result<u8> {
    match command {
        Command::Create { name } => {
            let created: CreatedToken = client.post("/tokens", &NewToken { name }).await?;
            if out.json {
                output::value(&created)?;
            } else {
                output::note(format!("{}; its secret is not shown again:", created.token.id));
                output::line(created.secret)?;
            }
        }
        Command::List => {
            let mut tokens: Vec<Token> = Vec::new();
            let mut cursor = String::new();
            loop {
                let page: Page<Token> = client.get(&format!("/tokens?limit=200{cursor}")).await?;
                tokens.extend(page.data);
                let Some(next) = page.next_cursor else { break };
                cursor = format!("&cursor={next}");
            }
            if out.json {
                output::value(&tokens)?;
            } else {
                let when = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
                let row = |token: &Token| {
                    let used = token.last_used_at.map_or_else(|| "never".to_owned(), when);
                    vec![
                        token.id.to_string(),
                        when(token.created_at),
                        used,
                        short(&token.name, 50),
                    ]
                };
                let rows: Vec<_> = tokens.iter().map(row).collect();
                out.table(&["ID", "CREATED", "LAST USED", "NAME"], &rows)?;
            }
        }
        Command::Revoke { id } => client.act(Method::DELETE, &format!("/tokens/{id}")).await?,
    }
    Ok(0)
}
