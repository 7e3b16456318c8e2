import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Tooltip } from "radix-ui";
import { useEffect, useState } from "react";
import { ApiError, onSignedOut } from "../api/client";
import { useKeyboard } from "../keys/registry";
import { LiveSessions } from "../live/sessions";
import { SignedOut } from "../routes/SignedOut";
import { useApplyTheme } from "../ui/theme";
import { Toasts } from "../ui/toasts";
import { ErrorBoundary } from "./ErrorBoundary";
import { Shell } from "./Shell";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // The client below repeats what may be repeated.
      retry: false,
      refetchOnWindowFocus: (query) => query.state.error instanceof ApiError,
    },
  },
});

/** Before a tooltip shows; the next one shows at once. */
const TIP_DELAY_MS = 400;

export function App() {
  useApplyTheme();
  useKeyboard();
  const [signedOut, setSignedOut] = useState(false);
  useEffect(() => onSignedOut(() => setSignedOut(true)), []);
  if (signedOut) return <SignedOut />;
  return (
    <ErrorBoundary>
      <QueryClientProvider client={client}>
        <Tooltip.Provider delayDuration={TIP_DELAY_MS}>
          <LiveSessions>
            <Shell />
          </LiveSessions>
          <Toasts />
        </Tooltip.Provider>
      </QueryClientProvider>
    </ErrorBoundary>
  );
}
