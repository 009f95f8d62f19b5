/** What a registry is shown. Never logged, never put into a URL. */
export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (docker config's `identitytoken`). */
  | { readonly kind: 'identity-token'; readonly username?: string; readonly token: string }
  /** A Bearer token, used as it is (docker config's `registrytoken`). */
  | { readonly kind: 'registry-token'; readonly token: string };
