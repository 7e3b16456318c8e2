import { useStored } from "../../ui/storage";

/** Whether terminals are written out for a screen reader, which costs time with each line of output. */
export const useScreenReader = () => useStored("terminal-screen-reader", false);
