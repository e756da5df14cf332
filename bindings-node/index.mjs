import respass from './lib/index.js';

export const {
  createClient, createCluster, Client, Cluster, RESP_TYPES,
  RespassError, ConfigurationError, InvalidArgumentError, ClientClosedError, QueueFullError, UnsupportedCommandError,
  ConnectionError, ProtocolError, TimeoutError, AbortError, AuthenticationError, TokenError, ErrorReply,
  AuthenticationErrorReply, NoPermissionError, LoadingError, ReadOnlyError, OutOfMemoryError, NoScriptError,
  ExecAbortError, WrongTypeError, ClusterError, WatchError, MultiErrorReply,
} = respass;
