//! What is the same in the generated code of every model. rustc expands these faster than a derive writes them.

/// The methods on the struct, each one call of the runtime.
#[doc(hidden)]
#[macro_export]
macro_rules! __model_methods {
    ($vis:vis $model:ident) => {
        impl $model {
            /// Copies to `target` what changed at `source` and `target` lacks; one way. Await it.
            ///
            /// # Errors
            /// Whatever either side answers. A conflict is no error, but a value in the report.
            $vis fn replicate<'a>(
                source: &'a dyn $crate::__private::AsReplica,
                target: &'a dyn $crate::__private::AsReplica,
            ) -> $crate::__private::Replicate<'a, Self> {
                $crate::__private::replicate(source, target)
            }

            /// Looks at the record with this id, and tracks it where a write went untracked: gives `true` if so.
            ///
            /// # Errors
            /// If the store fails, or the model is not registered.
            #[doc(alias = "rectifyChange")]
            $vis fn rectify_change(
                workspace: &$crate::__private::Workspace,
                id: <Self as $crate::__private::Syncable>::Id,
            ) -> $crate::__private::ModelFuture<'_, $crate::__private::bool> {
                $crate::__private::rectify_change::<Self>(workspace, id)
            }

            /// Looks at every record, and tracks those that a write left untracked: gives how many there were.
            ///
            /// # Errors
            /// If the store fails, or the model is not registered.
            #[doc(alias = "rectifyAllChanges")]
            $vis fn rectify_all_changes(
                workspace: &$crate::__private::Workspace,
            ) -> $crate::__private::ModelFuture<'_, $crate::__private::u64> {
                $crate::__private::rectify_all_changes::<Self>(workspace)
            }

            /// The changes at a replica since a checkpoint, or all of them where none is given.
            ///
            /// # Errors
            /// Whatever the replica answers.
            #[doc(alias = "getChanges")]
            $vis fn changes(
                replica: &dyn $crate::__private::AsReplica,
                since: $crate::__private::Option<$crate::__private::Checkpoint>,
            ) -> $crate::__private::ModelFuture<'_, $crate::__private::Vec<$crate::__private::Change>> {
                $crate::__private::changes::<Self>(replica, since)
            }

            /// A checkpoint that covers everything a replica has committed so far.
            ///
            /// # Errors
            /// Whatever the replica answers.
            #[doc(alias = "currentCheckpoint")]
            $vis fn checkpoint(
                replica: &dyn $crate::__private::AsReplica,
            ) -> $crate::__private::ModelFuture<'_, $crate::__private::Checkpoint> {
                $crate::__private::checkpoint(replica)
            }
        }
    };
}

/// What the enum of the fields implements. Written out, it costs rustc less than the five derives would.
#[doc(hidden)]
#[macro_export]
macro_rules! __model_fields {
    ($model:ident, $field:ident: $variants:literal $($variant:ident)*) => {
        #[automatically_derived]
        impl $crate::__private::core::clone::Clone for $field {
            fn clone(&self) -> Self {
                *self
            }
        }

        #[automatically_derived]
        impl $crate::__private::core::marker::Copy for $field {}

        #[automatically_derived]
        impl $crate::__private::core::cmp::PartialEq for $field {
            fn eq(&self, __sync_other: &Self) -> $crate::__private::bool {
                *self as $crate::__private::usize == *__sync_other as $crate::__private::usize
            }
        }

        #[automatically_derived]
        impl $crate::__private::core::cmp::Eq for $field {}

        #[automatically_derived]
        impl $crate::__private::core::fmt::Debug for $field {
            fn fmt(
                &self,
                __sync_f: &mut $crate::__private::core::fmt::Formatter<'_>,
            ) -> $crate::__private::core::fmt::Result {
                $crate::__private::debug_variant(
                    $variants,
                    *self as $crate::__private::usize,
                    __sync_f,
                )
            }
        }

        #[automatically_derived]
        impl $crate::__private::Field for $field {
            type Model = $model;

            fn index(self) -> $crate::__private::usize {
                self as $crate::__private::usize
            }

            fn from_index(__sync_index: $crate::__private::usize) -> $crate::__private::Option<Self> {
                $crate::__private::nth([$(Self::$variant),*], __sync_index)
            }
        }
    };
}
