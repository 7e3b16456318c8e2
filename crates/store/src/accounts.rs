//! Organizations, users, and what lets them in: login codes, web sessions and bearer tokens.
//!
//! Secrets come here as SHA-256 hashes and are looked up by them. The calls that find out who is
//! asking have no [`OpContext`] yet; all others begin with it.

use jiff::Timestamp;
use mistle_model::{OpContext, Role};
use mistle_protocol::api::{Page, Token};
use mistle_protocol::id::{OrganizationId, TokenId, UserId};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::{Result, Store, StoreError, micros, parse_id, timestamp};

/// The row of `meta` that names the first organization, so that two servers that start at once on
/// one database create one.
const FIRST_ORGANIZATION: &str = "first_organization";

/// A user in an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user_id: UserId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// What the user may do in it.
    pub role: Role,
    /// The user's name.
    pub name: String,
}

/// A web session, found by its cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSession {
    /// Whose it is.
    pub member: Member,
    /// Until when it lasts unless it is extended.
    pub expires_at: Timestamp,
}

/// A bearer token, found by its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub member: Member,
    /// When it was last used, as far as that was written.
    pub last_used_at: Option<Timestamp>,
}

/// The columns of a [`Member`], from `memberships m` and `users u`.
macro_rules! select_member {
    ($columns:literal, $from:literal) => {
        concat!(
            "SELECT m.user_id, m.organization_id, m.role, u.name AS user_name",
            $columns,
            " FROM memberships m JOIN users u ON u.id = m.user_id ",
            $from
        )
    };
}

impl Store {
    /// The owner of the first organization. Both are created, under these names, when there is no
    /// organization.
    pub async fn first_owner(&self, organization: &str, user: &str, now: Timestamp) -> Result<Member> {
        let mut transaction = self.begin().await?;
        let (organization_id, user_id) = (OrganizationId::new(), UserId::new());
        let claimed = sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(FIRST_ORGANIZATION)
            .bind(organization_id.to_string())
            .execute(&mut *transaction)
            .await?;
        if claimed.rows_affected() == 1 {
            insert_organization(&mut transaction, (organization_id, organization), (user_id, user), now).await?;
        }
        let row = sqlx::query(select_member!(
            "",
            "JOIN meta ON meta.value = m.organization_id WHERE meta.name = $1 AND m.role = $2 ORDER BY m.user_id LIMIT 1"
        ))
        .bind(FIRST_ORGANIZATION)
        .bind(Role::Owner.name())
        .fetch_one(&mut *transaction)
        .await?;
        let member = member(&row)?;
        transaction.commit().await?;
        Ok(member)
    }

    /// Adds an organization with its owner.
    pub async fn add_organization(&self, organization: &str, user: &str, now: Timestamp) -> Result<Member> {
        let (organization_id, user_id) = (OrganizationId::new(), UserId::new());
        let mut transaction = self.begin().await?;
        insert_organization(&mut transaction, (organization_id, organization), (user_id, user), now).await?;
        transaction.commit().await?;
        Ok(Member {
            user_id,
            organization_id,
            role: Role::Owner,
            name: user.to_owned(),
        })
    }

    /// The actor as a member of its organization; none when it is one no more.
    pub async fn member(&self, ctx: &OpContext) -> Result<Option<Member>> {
        let row = sqlx::query(select_member!("", "WHERE m.organization_id = $1 AND m.user_id = $2"))
            .bind(ctx.organization_id.to_string())
            .bind(ctx.user_id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(member).transpose()
    }

    /// Keeps in a table what lets a member in until it expires.
    async fn admit(
        &self,
        table: &'static str,
        hash: &str,
        member: &Member,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let insert = format!(
            "INSERT INTO {table} (hash, organization_id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(hash.to_owned())
            .bind(member.organization_id.to_string())
            .bind(member.user_id.to_string())
            .bind(micros(now))
            .bind(micros(expires_at))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Keeps a login code until it is used or expires.
    pub async fn add_login_code(
        &self,
        hash: &str,
        member: &Member,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.admit("login_codes", hash, member, now, expires_at).await
    }

    /// Uses a login code up. None when there is no such code or it has expired.
    pub async fn take_login_code(&self, hash: &str, now: Timestamp) -> Result<Option<Member>> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(select_member!(
            "",
            "JOIN login_codes c ON c.organization_id = m.organization_id AND c.user_id = m.user_id
             WHERE c.hash = $1 AND c.expires_at > $2"
        ))
        .bind(hash.to_owned())
        .bind(micros(now))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let removed = sqlx::query("DELETE FROM login_codes WHERE hash = $1")
            .bind(hash.to_owned())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        // On PostgreSQL two may have read the row; one deletes it.
        if removed.rows_affected() == 1 {
            member(&row).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Forgets login codes and web sessions that have expired.
    pub async fn remove_expired_logins(&self, now: Timestamp) -> Result<()> {
        for statement in [
            "DELETE FROM login_codes WHERE expires_at <= $1",
            "DELETE FROM web_sessions WHERE expires_at <= $1",
        ] {
            sqlx::query(statement).bind(micros(now)).execute(&self.writer).await?;
        }
        Ok(())
    }

    /// Keeps a web session.
    pub async fn add_web_session(
        &self,
        hash: &str,
        member: &Member,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.admit("web_sessions", hash, member, now, expires_at).await
    }

    /// The web session of a cookie, unless it has expired.
    pub async fn web_session(&self, hash: &str, now: Timestamp) -> Result<Option<WebSession>> {
        let row = sqlx::query(select_member!(
            ", w.expires_at",
            "JOIN web_sessions w ON w.organization_id = m.organization_id AND w.user_id = m.user_id
             WHERE w.hash = $1 AND w.expires_at > $2"
        ))
        .bind(hash.to_owned())
        .bind(micros(now))
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            Ok(WebSession {
                member: member(&row)?,
                expires_at: timestamp(row.try_get("expires_at")?),
            })
        })
        .transpose()
    }

    /// Lets a web session last longer.
    pub async fn extend_web_session(&self, hash: &str, expires_at: Timestamp) -> Result<()> {
        sqlx::query("UPDATE web_sessions SET expires_at = $2 WHERE hash = $1")
            .bind(hash.to_owned())
            .bind(micros(expires_at))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Ends a web session.
    pub async fn remove_web_session(&self, hash: &str) -> Result<()> {
        sqlx::query("DELETE FROM web_sessions WHERE hash = $1")
            .bind(hash.to_owned())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Adds a token of the actor.
    pub async fn add_token(&self, ctx: &OpContext, name: &str, hash: &str, now: Timestamp) -> Result<Token> {
        let token = Token {
            id: TokenId::new(),
            name: name.to_owned(),
            created_at: now,
            last_used_at: None,
        };
        sqlx::query(
            "INSERT INTO tokens (id, hash, organization_id, user_id, name, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(token.id.to_string())
        .bind(hash.to_owned())
        .bind(ctx.organization_id.to_string())
        .bind(ctx.user_id.to_string())
        .bind(name.to_owned())
        .bind(micros(now))
        .execute(&self.writer)
        .await?;
        Ok(token)
    }

    /// The token of a secret.
    pub async fn token_by_hash(&self, hash: &str) -> Result<Option<TokenUse>> {
        let row = sqlx::query(select_member!(
            ", t.id, t.last_used_at",
            "JOIN tokens t ON t.organization_id = m.organization_id AND t.user_id = m.user_id WHERE t.hash = $1"
        ))
        .bind(hash.to_owned())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            let last_used_at: Option<i64> = row.try_get("last_used_at")?;
            Ok(TokenUse {
                id: parse_id(row.try_get("id")?, "tokens")?,
                member: member(&row)?,
                last_used_at: last_used_at.map(timestamp),
            })
        })
        .transpose()
    }

    /// Notes that a token was used.
    pub async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(micros(now))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The actor's tokens, newest first: those before one of them, or the newest.
    pub async fn list_tokens(&self, ctx: &OpContext, before: Option<TokenId>, limit: u32) -> Result<Page<Token>> {
        // Ids grow with time; nothing sorts after a tilde.
        let before = before.map_or_else(|| "~".to_owned(), |id| id.to_string());
        let rows = sqlx::query(
            "SELECT id, name, created_at, last_used_at FROM tokens
             WHERE organization_id = $1 AND user_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        )
        .bind(ctx.organization_id.to_string())
        .bind(ctx.user_id.to_string())
        .bind(before)
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.reader)
        .await?;
        let mut data = rows.iter().map(token).collect::<Result<Vec<_>>>()?;
        let more = data.len() > limit as usize;
        data.truncate(limit as usize);
        let next_cursor = data.last().filter(|_| more).map(|token| token.id.to_string());
        Ok(Page { data, next_cursor })
    }

    /// Revokes a token of the actor. False when there is no such token.
    pub async fn revoke_token(&self, ctx: &OpContext, id: TokenId) -> Result<bool> {
        let removed = sqlx::query("DELETE FROM tokens WHERE id = $1 AND organization_id = $2 AND user_id = $3")
            .bind(id.to_string())
            .bind(ctx.organization_id.to_string())
            .bind(ctx.user_id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(removed.rows_affected() == 1)
    }
}

async fn insert_organization(
    transaction: &mut Transaction<'static, Any>,
    organization: (OrganizationId, &str),
    owner: (UserId, &str),
    now: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(organization.0.to_string())
        .bind(organization.1.to_owned())
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    sqlx::query("INSERT INTO users (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(owner.0.to_string())
        .bind(owner.1.to_owned())
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    sqlx::query("INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(organization.0.to_string())
        .bind(owner.0.to_string())
        .bind(Role::Owner.name())
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn member(row: &AnyRow) -> Result<Member> {
    Ok(Member {
        user_id: parse_id(row.try_get("user_id")?, "memberships")?,
        organization_id: parse_id(row.try_get("organization_id")?, "memberships")?,
        role: parse_role(row.try_get("role")?)?,
        name: row.try_get("user_name")?,
    })
}

fn token(row: &AnyRow) -> Result<Token> {
    let last_used_at: Option<i64> = row.try_get("last_used_at")?;
    Ok(Token {
        id: parse_id(row.try_get("id")?, "tokens")?,
        name: row.try_get("name")?,
        created_at: timestamp(row.try_get("created_at")?),
        last_used_at: last_used_at.map(timestamp),
    })
}

fn parse_role(name: &str) -> Result<Role> {
    [Role::Member, Role::Admin, Role::Owner]
        .into_iter()
        .find(|role| role.name() == name)
        .ok_or_else(|| StoreError::Unreadable {
            table: "memberships",
            source: format!("{name:?} is not a role").into(),
        })
}
