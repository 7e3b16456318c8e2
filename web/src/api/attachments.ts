/** Files that go with messages: uploaded first, then named by a message. */
import { API, ApiError, request } from "./client";
import type { components } from "./schema";
import type { Problem } from "./types";

export type Attachment = components["schemas"]["Attachment"];
export type ServerInfo = components["schemas"]["ServerInfo"];

const path = (id: string) => `/attachments/${encodeURIComponent(id)}`;
const ACTION = "Upload file";

/** Where a file's bytes are. */
export const contentUrl = (id: string): string => `${API}${path(id)}/content`;

/** The images that the server answers as such. */
export const isImage = (mediaType: string): boolean => /^image\/(png|jpeg|gif|webp)$/.test(mediaType);

/**
 * Uploads a file. `XMLHttpRequest`, because it alone tells in every browser how far an upload is.
 */
export function upload(
  file: File,
  onProgress: (sent: number) => void,
  signal: AbortSignal,
): Promise<Attachment> {
  const target = `${API}/attachments?name=${encodeURIComponent(file.name)}`;
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const fail = (problem?: Problem) => reject(new ApiError(ACTION, "POST", target, problem));
    call.open("POST", target);
    call.setRequestHeader("content-type", "application/octet-stream");
    call.responseType = "json";
    call.upload.onprogress = (event) => onProgress(event.loaded);
    call.onload = () => {
      if (call.status === 201) return resolve(call.response as Attachment);
      const problem = call.response as Partial<Problem> | null;
      fail({ type: `http-${call.status}`, title: call.statusText, status: call.status, ...problem });
    };
    call.onerror = () => fail();
    call.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => call.abort(), { once: true });
    call.send(file);
  });
}

export const attachmentsApi = {
  server: () => request<ServerInfo>("/server", { action: "Load limits" }),
  show: (id: string) => request<Attachment>(path(id), { action: "Load file" }),
  remove: (id: string) => request<void>(path(id), { action: "Remove file", method: "DELETE" }),
};
