import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { Monitor, Moon, Sun } from "lucide-react";
import { RadioGroup } from "radix-ui";
import { useRef, useState } from "react";
import { type ApiError, api, asApiError, newIdempotencyKey } from "../../api/client";
import type { CreatedToken, Token } from "../../api/types";
import { Button } from "../../ui/Button";
import { Confirm } from "../../ui/Confirm";
import { CopyButton } from "../../ui/CopyButton";
import { ErrorNote } from "../../ui/ErrorNote";
import { type ThemeChoice, useThemeChoice } from "../../ui/theme";
import { ago, clock, useNow } from "../../ui/time";
import { say, sayError } from "../../ui/toasts";
import { NotificationSettings } from "../notifications/NotificationSettings";
import "./settings.css";

const THEMES: readonly { value: ThemeChoice; label: string; icon: typeof Sun }[] = [
  { value: "system", label: "System", icon: Monitor },
  { value: "light", label: "Light", icon: Sun },
  { value: "dark", label: "Dark", icon: Moon },
];

function Appearance() {
  const [choice, setChoice] = useThemeChoice();
  return (
    <section className="settings-part" aria-labelledby="appearance">
      <h2 id="appearance">Appearance</h2>
      <RadioGroup.Root
        className="segments"
        aria-label="Theme"
        value={choice}
        onValueChange={(value) => setChoice(value as ThemeChoice)}
      >
        {THEMES.map(({ value, label, icon: Icon }) => (
          <RadioGroup.Item key={value} value={value} className="segment">
            <Icon size={16} aria-hidden="true" />
            {label}
          </RadioGroup.Item>
        ))}
      </RadioGroup.Root>
    </section>
  );
}

function TokenRow({ token, onRevoke }: { token: Token; onRevoke: () => void }) {
  const now = useNow();
  return (
    <li className="token">
      <div>
        <p>{token.name}</p>
        <p className="field-hint">
          Created {clock(token.created_at, now)} ·{" "}
          {token.last_used_at ? `used ${ago(token.last_used_at, now)}` : "never used"}
        </p>
      </div>
      <Button look="danger" aria-label={`Revoke ${token.name}`} onClick={onRevoke}>
        Revoke
      </Button>
    </li>
  );
}

function Secret({ created, onDone }: { created: CreatedToken; onDone: () => void }) {
  return (
    <div className="secret" role="status">
      <p>
        <strong>{created.token.name}</strong> is ready. Copy it now: it is not shown again.
      </p>
      <div className="secret-line">
        <code>{created.secret}</code>
        <CopyButton text={created.secret} label="Copy token" look="default" />
        <Button look="ghost" onClick={onDone}>
          Done
        </Button>
      </div>
    </div>
  );
}

const TOKENS = ["tokens"];

function Tokens() {
  const client = useQueryClient();
  const tokens = useInfiniteQuery({
    queryKey: TOKENS,
    queryFn: ({ pageParam }) => api.tokens(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const [name, setName] = useState("");
  const [created, setCreated] = useState<CreatedToken>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [revoking, setRevoking] = useState<Token>();
  const key = useRef(newIdempotencyKey());
  const rows = tokens.data?.pages.flatMap((page) => page.data) ?? [];

  const create = async () => {
    if (!name.trim() || busy) return;
    setBusy(true);
    setError(undefined);
    try {
      setCreated(await api.createToken(name.trim(), key.current));
      setName("");
      key.current = newIdempotencyKey();
      await client.invalidateQueries({ queryKey: TOKENS });
    } catch (thrown) {
      setError(asApiError(thrown, "Create token"));
    } finally {
      setBusy(false);
    }
  };
  const revoke = async (token: Token) => {
    try {
      await api.revokeToken(token.id);
      if (created?.token.id === token.id) setCreated(undefined);
      say(`Revoked “${token.name}”`);
      await client.invalidateQueries({ queryKey: TOKENS });
    } catch (thrown) {
      sayError(thrown, "Revoke token");
    }
  };
  return (
    <section className="settings-part" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      <p className="settings-lead">
        For the command line and your own programs. A token can do what you can.
      </p>
      <form
        className="token-new"
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <input
          className="input"
          aria-label="Token name"
          placeholder="What is it for?"
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <Button type="submit" disabled={!name.trim() || busy}>
          Create token
        </Button>
      </form>
      {error && <ErrorNote error={error} />}
      {created && <Secret created={created} onDone={() => setCreated(undefined)} />}
      {tokens.error && !rows.length ? (
        <ErrorNote error={asApiError(tokens.error, "Load tokens")}>
          <Button onClick={() => void tokens.refetch()}>Try again</Button>
        </ErrorNote>
      ) : rows.length ? (
        <ul className="tokens">
          {rows.map((token) => (
            <TokenRow key={token.id} token={token} onRevoke={() => setRevoking(token)} />
          ))}
        </ul>
      ) : (
        tokens.data && !created && <p className="field-hint">No tokens yet.</p>
      )}
      {tokens.hasNextPage && <Button onClick={() => void tokens.fetchNextPage()}>Show more</Button>}
      <Confirm
        open={revoking !== undefined}
        onOpenChange={(open) => !open && setRevoking(undefined)}
        title="Revoke this token?"
        action="Revoke token"
        danger
        onConfirm={() => revoking && void revoke(revoking)}
      >
        What uses “{revoking?.name}” is refused from then on.
      </Confirm>
    </section>
  );
}

function Account() {
  const me = useQuery({ queryKey: ["me"], queryFn: api.me, staleTime: Number.POSITIVE_INFINITY });
  const signOut = async () => {
    try {
      await api.signOut();
      location.assign("/");
    } catch (thrown) {
      sayError(thrown, "Sign out");
    }
  };
  return (
    <section className="settings-part" aria-labelledby="account">
      <h2 id="account">Account</h2>
      <div className="account">
        <p>
          {me.data?.name}
          {me.data && <span className="field-hint"> · Mistle {me.data.server_version}</span>}
        </p>
        <Button onClick={() => void signOut()}>Sign out</Button>
      </div>
    </section>
  );
}

export function Settings() {
  return (
    <div className="settings">
      <h1>Settings</h1>
      <Appearance />
      <NotificationSettings />
      <Tokens />
      <Account />
    </div>
  );
}
