import type { SessionInfo } from "coatcheck";
import { html } from "../html.ts";
import { ago, deviceName } from "./format.ts";
import type { Page } from "./show.ts";

export const devicesPage = (sessions: readonly SessionInfo[], now: number): Page => ({
  title: "Devices",
  content: (csrf) => html`<h1>Where you are logged in</h1>
<ul class="devices">
  ${sessions.map(
    ({ id, device, createdAt, lastSeenAt, current }) => html`<li class="card wide${current && " current"}">
    <div>
      <h2>${deviceName(device.userAgent)} ${current && html`<span class="badge">This device</span>`}</h2>
      <p class="quiet">Since ${ago(createdAt, now)}, last seen ${ago(lastSeenAt, now)}${device.ip !== undefined && html`, from the network ${device.ip}`}</p>
    </div>
    ${!current && html`<form method="post" action="/sessions/${id}/revoke">${csrf}<button class="plain">Log out there</button></form>`}
  </li>`,
  )}
</ul>
${
  sessions.length > 1 &&
  html`<form method="post" action="/sessions/revoke-others" class="actions">${csrf}<button class="plain">Log out everywhere else</button></form>`
}
<p class="quiet">To end sessions you must have typed your password within the last five minutes.</p>`,
});
