/** Docker's folder of registries' certificates. */
export const CERTS_DIRECTORY = '/etc/docker/certs.d';
